"""A member in pyzmq: takes messages on L1, prints their contents and replies."""
import json
import zmq

ADDRESS = "tcp://127.0.0.1:6010"

socket = zmq.Context().socket(zmq.REP)
socket.bind(ADDRESS)
print("listening on", ADDRESS, flush=True)

while True:
    try:
        message = json.loads(socket.recv())["attributes"]["cmbs"]["message"]
        print(message["message_content"], flush=True)
        reply = {"received": message["message_content"]}
    except (ValueError, KeyError, TypeError) as error:
        reply = {"error": {"code": "bad_request", "message": str(error)}}
    socket.send_json(reply)
