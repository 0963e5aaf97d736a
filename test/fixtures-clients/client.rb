# Ruby's xmlrpc: client.rb URL prints one line for each check, "ok NAME" or what is wrong.
require 'xmlrpc/client'

def check(name, expected, actual)
  same = expected == actual && expected.class == actual.class
  puts(same ? "ok #{name}" : "wrong #{name}: #{actual.inspect}, not #{expected.inspect}")
end

server = XMLRPC::Client.new2(ARGV[0])
values = {
  'int' => -12,
  'string' => "  ü <&> \u{1f600} 中\n\t'\"]]> ",
  'empty' => '',
  'boolean' => true,
  'double' => -12.214,
  'array' => [1, ['two', [3.5]], []],
  'struct' => { '__proto__' => 'x', 'a b' => { 'c' => 1 }, '<&>' => [true] },
}
values.each { |name, value| check(name, value, server.call('trial.echo', value)) }
check('all', [values, 1], server.call('echo.echo', values, 1))
check('none', [], server.call('echo.echo'))
check('characters', " ü中\u{1f600}\r\n", server.call('trial.characters'))
bytes = (0..255).to_a.pack('C*')
check('bytes', bytes, server.call('trial.echo', XMLRPC::Base64.new(bytes)))
time = server.call('trial.echo', XMLRPC::DateTime.new(1998, 7, 17, 14, 8, 55))
check('time', [1998, 7, 17, 14, 8, 55], time.to_a)
check('double of a signature', 3.0, server.call('trial.double'))
check('i8', 9223372036854775807, server.call('trial.large'))
begin
  server.call('trial.fail')
  puts 'wrong fault'
rescue XMLRPC::FaultException => e
  check('fault', [42, "No, \"because\" <of> & \r\nü."], [e.faultCode, e.faultString])
end
begin
  server.call('no.method')
  puts 'wrong unknown method'
rescue XMLRPC::FaultException => e
  check('unknown method', -32601, e.faultCode)
end
check('introspection', [['double']], server.call('system.methodSignature', 'trial.double'))
results = server.multicall(['trial.echo', 'a'], ['trial.double'], ['trial.fail'])
check('multicall', ['a', 3.0, 42], [results[0], results[1], results[2].faultCode])
