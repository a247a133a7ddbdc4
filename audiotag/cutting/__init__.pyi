from audiotag.cutting.cut import Segments as Segments
from audiotag.cutting.settings import SegmentSettings as SegmentSettings
