from audiotag.engines.exported import Exported as Exported
from audiotag.engines.exported import read_exported as read_exported
from audiotag.engines.interface import Engine as Engine
from audiotag.engines.interface import EngineFacts as EngineFacts
from audiotag.engines.interface import EngineOutput as EngineOutput
from audiotag.engines.opening import open_engine as open_engine
