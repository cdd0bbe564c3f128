"""A web server that alerts are delivered to."""

from aiohttp import web

from tests.support.server_thread import ServerThread


class WebReceiver(ServerThread):
    """A web server that keeps what it is sent; `answers`: the status of each request to come, else 204."""

    def __init__(self):
        super().__init__()
        self.got, self.answers = [], []

    async def _answer(self, request):
        status = self.answers.pop(0) if self.answers else 204
        if status == 204:
            self.got.append(await request.json())
        return web.Response(status=status, text="" if status == 204 else "busy\nlater", headers={"Location": "/other"})
