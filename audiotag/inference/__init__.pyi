from audiotag.inference.clip_scores import Compute as Compute
from audiotag.inference.clip_scores import score_clip_set as score_clip_set
from audiotag.inference.events import Event as Event
from audiotag.inference.events import Events as Events
from audiotag.inference.frame_scores import FrameScores as FrameScores
from audiotag.inference.tags import TaggedFile as TaggedFile
from audiotag.inference.tags import Tags as Tags
from audiotag.inference.tags import WindowScores as WindowScores
