from audiotag.continual.online import OnlineLearner as OnlineLearner
from audiotag.continual.store import ClipStore as ClipStore
from audiotag.cutting.cut import segments as segments
from audiotag.distributed.detections import read_detections as read_detections
from audiotag.errors import AudiotagError as AudiotagError
from audiotag.evaluation.evaluate import evaluate as evaluate
from audiotag.inference.loading import load as load
from audiotag.inference.tagger import Tagger as Tagger
from audiotag.labels import Label as Label
from audiotag.labels import LabelSet as LabelSet
from audiotag.models.analytic import AnalyticLearner as AnalyticLearner
from audiotag.models.create import create_backbone as create_backbone
from audiotag.models.published import load_published as load_published
from audiotag.similarity.index import SimilarityIndex as SimilarityIndex
from audiotag.training.comparison import compare as compare
from audiotag.training.finetune import finetune as finetune

__version__: str
