"""Creates a member, sends a message on a topic to the member, and prints the received content. Python 3, no packages."""
import json
import os
import urllib.request

BASE = os.environ.get("CMBS_URL", "http://127.0.0.1:8090")
CMBS = "http://houssem.org/cmbs#"


def ask(method, path, body=None):
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(BASE + path, data, headers, method=method)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


ask("PUT", "/cmbs/member/python", {
    "kind": CMBS + "member",
    "attributes": {"cmbs.member.topics": ["python.>"], "cmbs.member.start": ["l32"]},
})
sent = ask("POST", "/cmbs/message/?send&from=python", {
    "kind": CMBS + "message",
    "mixins": [CMBS + "l32"],
    "attributes": {
        "cmbs.message.topics": ["python.example"],
        "cmbs.message.message_content": {"hello": "from Python"},
    },
})
print(sent["attributes"]["cmbs.message.delivery"]["state"])

entries = ask("GET", "/cmbs/member/python/inbox/?wait=10")["entries"]
for entry in entries:
    print(json.dumps(entry["message"]["attributes"]["cmbs"]["message"]["message_content"]))
ask("DELETE", "/cmbs/member/python/inbox/", {"entries": [entry["id"] for entry in entries]})
