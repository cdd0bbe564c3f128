"""A stand-in for a websocket, of a scripted venue that is asked over REST."""

import json


class Said:
    """What the order socket would answer."""

    async def send_str(self, text):
        """Takes an answer."""
        self.answer = json.loads(text)
