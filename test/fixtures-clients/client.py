"""Python's stock xmlrpc.client: client.py URL prints one line for each check, "ok NAME" or what is wrong."""
import datetime
import sys
import xmlrpc.client

url = sys.argv[1]


def check(name, expected, actual):
    same = expected == actual and type(expected) is type(actual)
    print("ok " + name if same else "wrong %s: %r, not %r" % (name, actual, expected))


server = xmlrpc.client.ServerProxy(url, use_builtin_types=True)
when = datetime.datetime(1998, 7, 17, 14, 8, 55)
values = {
    "int": -12,
    "string": "  ü <&> \U0001f600 中\n\t'\"]]> ",
    "empty": "",
    "boolean": True,
    "double": -12.214,
    "small": 5e-324,
    "large": 1.7976931348623157e308,
    "bytes": bytes(range(256)),
    "time": when,
    "array": [1, ["two", [3.5]], []],
    "struct": {"__proto__": "x", "a b": {"": 1}, "<&>": [True]},
}
for name, value in values.items():
    check(name, value, server.trial.echo(value))
check("all", [values, 1], server.echo.echo(values, 1))
check("none", [], server.echo.echo())
# The client does not escape CR, so that XML turns it into LF on the way to the server, but not on the way back.
check("characters", " ü中\U0001f600\r\n", server.trial.characters())
check("double of a signature", 3.0, server.trial.double())
check("i8", 9223372036854775807, server.trial.large())
try:
    server.trial.fail()
    print("wrong fault")
except xmlrpc.client.Fault as fault:
    check("fault", (42, 'No, "because" <of> & \r\nü.'), (fault.faultCode, fault.faultString))
try:
    server.no.method()
    print("wrong unknown method")
except xmlrpc.client.Fault as fault:
    check("unknown method", -32601, fault.faultCode)
try:
    server.trial.nothing()
    print("wrong nil")
except xmlrpc.client.Fault as fault:
    check("nil that was not asked for", -32603, fault.faultCode)
try:
    server.trial.echo(float("nan"))
    print("wrong nan")
except xmlrpc.client.Fault as fault:
    check("NaN", -32600, fault.faultCode)
with_nil = xmlrpc.client.ServerProxy(url, allow_none=True)
check("nil", [None, "x"], with_nil.trial.echo([None, "x"]))
for encoding in ["iso-8859-1", "us-ascii", "utf-16"]:
    declared = xmlrpc.client.ServerProxy(url, encoding=encoding)
    check(encoding, "üÿ", declared.trial.echo("üÿ"))
check("introspection", [["double"]], server.system.methodSignature("trial.double"))
assert "trial.double" in server.system.listMethods() and server.system.methodHelp("trial.fail") == "Fails."
calls = xmlrpc.client.MultiCall(server)
calls.trial.echo("a")
calls.trial.double()
calls.trial.fail()
results = calls()
try:
    print("wrong multicall: %r" % results[2])
except xmlrpc.client.Fault as fault:
    check("multicall", ["a", 3.0, 42], [results[0], results[1], fault.faultCode])
try:
    xmlrpc.client.ServerProxy(url.replace(":first-", ":wrong-")).trial.double()
    print("wrong password was taken")
except xmlrpc.client.ProtocolError as error:
    check("wrong password", 401, error.errcode)
