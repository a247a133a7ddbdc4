from audiotag.live.messages import Message as Message
from audiotag.live.messages import Output as Output
