"""Sends one message to a member on L1 and prints what came back: a call, from a program without CMBS."""
import json
import sys
import zmq

address, content = sys.argv[1], json.loads(sys.argv[2])

socket = zmq.Context().socket(zmq.REQ)
socket.RCVTIMEO = 10000
socket.connect(address)
socket.send_json({
    "kind": "http://houssem.org/cmbs#message",
    "id": "from-python",
    "attributes": {"cmbs": {"message": {"cmbs_layer": "l1", "message_content": content}}},
})
reply = socket.recv_json()
print(json.dumps(reply.get("result", reply.get("error"))))
