"""Calls methods of service modules by XML-RPC. Python 3, no packages."""
import os
import xmlrpc.client

BASE = os.environ.get("CMBS_URL", "http://127.0.0.1:8090")
server = xmlrpc.client.ServerProxy(BASE + "/RPC2")

print(server.echo.echo("hello", 7))
print(server.system.methodHelp("echo.echo"))

several = xmlrpc.client.MultiCall(server)
several.echo.echo("first")
several.no.method()
results = several()
print(results[0])
try:
    print(results[1])
except xmlrpc.client.Fault as fault:
    print(fault.faultCode)
