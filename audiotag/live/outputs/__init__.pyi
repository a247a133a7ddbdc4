from audiotag.live.outputs.delivery import Delivery as Delivery
from audiotag.live.outputs.delivery import NotDeliveredError as NotDeliveredError
from audiotag.live.outputs.delivery import RefusedError as RefusedError
from audiotag.live.outputs.opening import open_output as open_output
from audiotag.live.outputs.settings import OutputSettings as OutputSettings
