"""The page where people listen to detections and correct them, and its server (``audiotag[serve]``)."""
