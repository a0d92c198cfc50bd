"""For any ASGI server: `hypercorn wellnet_sse.asgi:app`. Such a server tells no bind, so say WELLNET_AUTH."""

import os

from wellnet_sse import logs
from wellnet_sse.app import create_app
from wellnet_sse.settings import LogFormat, Settings

settings = Settings.from_environment(os.environ, bind=None)
logs.configure(json_lines=settings.log_format is LogFormat.JSON, level=settings.log_level)
app = create_app(settings)
