"""Clients that cost a server patience: hold.py PORT IDLE SLOW BODY_BYTES END

Holds IDLE connections open, each after one answered request, and SLOW that send one byte a second: a third of them of a head,
a third of a small body, a third of one of BODY_BYTES in chunks. What the server cuts off is opened again. Prints "ready" when all
are open; once the file END is there, one line: connections cut off, by state, and those that could not be opened again.
"""
import collections
import os
import resource
import select
import socket
import sys
import time

port, idle, slow, large = (int(a) for a in sys.argv[1:5])
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
if hard < idle + slow + 50:
    sys.exit(f"hold.py: {hard} descriptors are too few for {idle + slow} connections")
head = b"POST /v2/models/proxied/infer HTTP/1.1\r\nHost: h\r\n"
begins = {
    "head": head + b"X: ",
    "body": head + b"Content-Length: 60000\r\n\r\n{",
    "chunks": head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n{" % large,
}
kinds = list(begins)
poll = select.epoll()
cut, refused, of, socks = collections.Counter(), 0, {}, {}


def connect(kind):
    s = socket.create_connection(("127.0.0.1", port), 10)
    if kind == "idle":
        s.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: h\r\n\r\n")
        s.recv(4096)
    else:
        s.sendall(begins[kind])
    s.setblocking(False)
    of[s.fileno()], socks[s.fileno()] = kind, s
    poll.register(s.fileno(), select.EPOLLIN)


for i in range(slow):
    connect(kinds[i % 3])
for i in range(idle):
    connect("idle")
print("ready", flush=True)
due = time.monotonic() + 1
while not os.path.exists(sys.argv[5]):
    for fd, _ in poll.poll(0.1):
        kind, s = of.pop(fd), socks.pop(fd)
        cut[kind] += 1
        poll.unregister(fd)
        s.close()
        try:
            connect(kind)
        except OSError:
            refused += 1
    if time.monotonic() >= due:
        due += 1
        for fd, s in list(socks.items()):
            if of[fd] != "idle":
                try:
                    s.send(b" ")
                except OSError:
                    pass  # the poll tells
print("cut off:", " ".join(f"{k} {n}" for k, n in sorted(cut.items())) or "none", "| not opened again:", refused, flush=True)
os._exit(0)
