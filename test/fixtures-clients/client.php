<?php
// PHP's xmlrpc extension: client.php URL prints one line for each check, "ok NAME" or what is wrong.
function check(string $name, $expected, $actual): void
{
    $same = $expected === $actual;
    echo $same ? "ok $name\n" : "wrong $name: " . var_export($actual, true) . ', not ' . var_export($expected, true) . "\n";
}

function call(string $method, array $args, array $options = ['encoding' => 'utf-8', 'escaping' => 'markup'])
{
    global $argv;
    $context = stream_context_create(['http' => [
        'method' => 'POST',
        'header' => 'Content-Type: text/xml',
        'content' => xmlrpc_encode_request($method, $args, $options),
    ]]);
    return xmlrpc_decode(file_get_contents($argv[1], false, $context), 'utf-8');
}

$values = [
    'int' => -12,
    'string' => "  ü <&> \u{1f600} 中\n\t'\"]]> ",
    'empty' => '',
    'boolean' => true,
    'double' => -12.25,
    'array' => [1, ['two', [3.5]], []],
    'struct' => ['__proto__' => 'x', 'a b' => ['c' => 1], '<&>' => [true]],
];
foreach ($values as $name => $value) {
    check($name, $value, call('trial.echo', [$value]));
}
check('all', [$values, 1], call('echo.echo', [$values, 1]));
check('none', [], call('echo.echo', []));
check('characters', " ü中\u{1f600}\r\n", call('trial.characters', []));
$bytes = implode('', array_map('chr', range(0, 255)));
xmlrpc_set_type($bytes, 'base64');
$answer = call('trial.echo', [$bytes]);
check('bytes', bin2hex($bytes->scalar), bin2hex($answer->scalar ?? ''));
$time = '19980717T14:08:55';
xmlrpc_set_type($time, 'datetime');
check('time', '19980717T14:08:55', call('trial.echo', [$time])->scalar ?? null);
check('double of a signature', 3.0, call('trial.double', []));
check('fault', ['faultCode' => 42, 'faultString' => "No, \"because\" <of> & \r\nü."], call('trial.fail', []));
check('unknown method', -32601, call('no.method', [])['faultCode'] ?? null);
check('iso-8859-1', 'üÿ', call('trial.echo', [mb_latin1('üÿ')], ['encoding' => 'iso-8859-1', 'escaping' => 'markup']));
check('introspection', [['double']], call('system.methodSignature', ['trial.double']));
$calls = [
    ['methodName' => 'trial.echo', 'params' => ['a']],
    ['methodName' => 'trial.double', 'params' => []],
    ['methodName' => 'trial.fail', 'params' => []],
];
[[$first], [$second], $third] = call('system.multicall', [$calls]);
check('multicall', ['a', 3.0, 42], [$first, $second, $third['faultCode']]);

function mb_latin1(string $text): string
{
    return iconv('UTF-8', 'ISO-8859-1', $text);
}
