"""A plain pyzmq peer, as the original's members are: one role each, told by the first argument.

  req ADDRESS COUNT   asks COUNT times and prints each reply
  rep                 binds, prints its address, and answers "re: <request>" for ever
  sub COUNT           binds, subscribes to everything, prints its address and then COUNT messages
  ask ADDRESS         sends what it reads as one line, prints the reply, until the input ends
  answer REPLY        binds, prints its address, then each request, and answers REPLY for ever
  pub ADDRESS COUNT   connects, says "hello" until it reads a line, then sends COUNT messages

Every line that is printed is flushed; what goes wrong ends the process with a traceback.
"""
import select
import sys

import zmq

RECEIVE_TIMEOUT_MS = 20000


def say(text):
    print(text, flush=True)


def main():
    context = zmq.Context()
    role = sys.argv[1]
    if role == "req":
        socket = context.socket(zmq.REQ)
        socket.RCVTIMEO = RECEIVE_TIMEOUT_MS
        socket.connect(sys.argv[2])
        for index in range(int(sys.argv[3])):
            socket.send_string("request %d" % index)
            say(socket.recv_string())
    elif role == "rep":
        socket = context.socket(zmq.REP)
        socket.bind("tcp://127.0.0.1:*")
        say(socket.getsockopt_string(zmq.LAST_ENDPOINT))
        while True:
            socket.send_string("re: " + socket.recv_string())
    elif role == "ask":
        socket = context.socket(zmq.REQ)
        socket.RCVTIMEO = RECEIVE_TIMEOUT_MS
        socket.connect(sys.argv[2])
        for line in sys.stdin:
            socket.send_string(line.rstrip("\n"))
            say(socket.recv_string())
    elif role == "answer":
        socket = context.socket(zmq.REP)
        socket.bind("tcp://127.0.0.1:*")
        say(socket.getsockopt_string(zmq.LAST_ENDPOINT))
        while True:
            say(socket.recv_string())
            socket.send_string(sys.argv[2])
    elif role == "sub":
        socket = context.socket(zmq.SUB)
        socket.RCVTIMEO = RECEIVE_TIMEOUT_MS
        socket.setsockopt_string(zmq.SUBSCRIBE, "")
        socket.bind("tcp://127.0.0.1:*")
        say(socket.getsockopt_string(zmq.LAST_ENDPOINT))
        for _ in range(int(sys.argv[2])):
            say(socket.recv_string())
    elif role == "pub":
        socket = context.socket(zmq.PUB)
        socket.connect(sys.argv[2])
        while not select.select([sys.stdin], [], [], 0.005)[0]:
            socket.send_string("hello")
        for index in range(int(sys.argv[3])):
            socket.send_string("broadcast %d" % index)
    else:
        raise SystemExit("unknown role " + role)
    socket.close(linger=2000)
    context.term()


main()
