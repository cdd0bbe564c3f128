"""Messages that one read of a websocket brought whole, found without a parser that can stop in the middle. Sans I/O.

RFC 6455, section 5.2. A market's messages are small, unfragmented and come whole, hundreds in one read: for these alone.
"""

TEXT, BINARY = 0x81, 0x82  # the first byte of an unfragmented message, without extensions
SHORT = 126  # a size below it is the second byte; where that is 126, the next two are the size


def whole_messages(data: bytes, bytes_max: int) -> list[bytes] | None:
    """The messages of a server, where `data`, which begins with a frame, is whole messages and nothing else; None otherwise.

    Then the parser has to look: it is a part, a fragment, a control frame, a size of eight bytes, one beyond `bytes_max`, or
    against the rules.
    """
    messages, at, end = [], 0, len(data)
    while at < end:
        if end - at < 4:  # a smaller frame is an empty message, or a part
            return None
        size = data[at + 1]
        if size < SHORT:
            begin = at + 2
        elif size == SHORT:
            size, begin = data[at + 2] << 8 | data[at + 3], at + 4
        else:
            return None
        stop = begin + size
        if stop > end or size > bytes_max or data[at] not in (TEXT, BINARY):
            return None
        messages.append(data[begin:stop])
        at = stop
    return messages


def frame_size(payload: int) -> int:
    """The bytes of a server's frame around so many, where its size is written as short as can be."""
    return payload + (2 if payload < SHORT else 4 if payload < 1 << 16 else 10)
