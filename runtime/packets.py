"""What root, the zygote and the spares say to each other: packets of any size, each whole or not at all."""

import os
import socket

import msgspec

#: A larger one goes as a file: the kernel takes no packet above the socket's buffer, ever.
PACKET_BYTES_MAX = 1 << 16
#: Where a spare rehearses, below the folder of sockets; nothing of that remains.
FOLDER = "spare"
#: What a spare says when it is ready to be told; everything else is why it cannot be.
READY = b"ready"


class Spawned(msgspec.Struct, frozen=True):
    """The zygote's answer to one request: the pid of the new child. That to a request without a path brings a socket.

    Such a child is a spare, and through that socket it is told who it is.
    """

    path: str
    epoch: int
    pid: int


def send_packet(channel: socket.socket, data: bytes) -> None:
    """Send one packet.

    Raises:
        OSError: Nothing was sent.
    """
    if len(data) <= PACKET_BYTES_MAX:
        channel.send(data)
        return
    descriptor = os.memfd_create("request", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
        socket.send_fds(channel, [b"file"], [descriptor])
    finally:
        os.close(descriptor)


def receive_packet(channel: socket.socket) -> bytes:
    """Wait for the next packet; nothing is the end."""
    data, descriptors, _, _ = socket.recv_fds(channel, PACKET_BYTES_MAX, 1)
    if not descriptors:
        return data
    with os.fdopen(descriptors[0], "rb") as file:
        file.seek(0)
        return file.read()
