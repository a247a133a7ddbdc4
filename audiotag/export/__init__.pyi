from audiotag.export.export import export_ensemble as export_ensemble
from audiotag.export.export import export_model as export_model
from audiotag.export.proof import Difference as Difference
from audiotag.export.proof import Proof as Proof
