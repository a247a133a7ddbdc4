from audiotag.annotation.checks import LabelCheck as LabelCheck
from audiotag.annotation.checks import check_labels as check_labels
from audiotag.annotation.enhancement import Enhancement as Enhancement
from audiotag.annotation.enhancement import Relation as Relation
from audiotag.annotation.enhancement import class_thresholds as class_thresholds
from audiotag.annotation.enhancement import enhance_labels as enhance_labels
from audiotag.annotation.enhancement import missing_labels as missing_labels
from audiotag.annotation.enhancement import relations as relations
