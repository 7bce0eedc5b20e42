"""gooseBit on one port of the loopback interface: `serve.py PORT`, 0 is any free one; says which. Its tables are made first: its own way
to make them is a migration command, whose configuration its package lacks."""

import asyncio
import socket
import sys

import uvicorn
from goosebit import app
from goosebit.db.config import TORTOISE_CONF
from tortoise import Tortoise


async def make_tables():
    await Tortoise.init(config=TORTOISE_CONF)
    await Tortoise.generate_schemas()
    await Tortoise.close_connections()


asyncio.run(make_tables())
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print(listening.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])
