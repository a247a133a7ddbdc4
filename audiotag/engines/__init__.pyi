from audiotag.engines.interface import Engine as Engine
from audiotag.engines.interface import EngineFacts as EngineFacts
from audiotag.engines.interface import EngineOutput as EngineOutput
from audiotag.engines.opening import open_engine as open_engine
