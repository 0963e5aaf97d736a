# Perl's RPC::XML::Client: rpc-xml.pl URL prints one line for each check, "ok NAME" or what is wrong.
use strict;
use warnings;
use utf8;
use Data::Dumper;
use Encode;
use RPC::XML;
use RPC::XML::Client;

binmode STDOUT, ':utf8';
$Data::Dumper::Sortkeys = $Data::Dumper::Terse = 1;
$Data::Dumper::Indent = 0;
$RPC::XML::ENCODING = 'utf-8';

sub check {
    my ($name, $expected, $actual) = @_;
    my ($e, $a) = (Dumper($expected), Dumper($actual));
    # A number and its text are the same to Perl.
    s/'(-?\d+(?:\.\d+)?)'/$1/g for $e, $a;
    print $e eq $a ? "ok $name\n" : "wrong $name: $a, not $e\n";
}

my $server = RPC::XML::Client->new($ARGV[0]);

sub answer {
    my $response = $server->send_request(@_);
    return ref $response ? $response : die "no response: $response\n";
}

my %values = (
    int => -12,
    string => "  a <&> \n\t'\"]]> ",
    empty => '',
    double => -12.25,
    array => [1, ['two', [3.5]], []],
    struct => { '__proto__' => 'x', 'a b' => { 'c' => 1 }, '<&>' => [2] },
);
for my $name (sort keys %values) {
    check($name, $values{$name}, answer('trial.echo', $values{$name})->value);
}
check('all', [\%values, 1], answer('echo.echo', \%values, 1)->value);
check('none', [], answer('echo.echo')->value);
check('characters', " ü中\x{1f600}\r\n", decoded(answer('trial.characters')->value));
check('boolean', 'true', answer('trial.echo', RPC::XML::boolean->new(1))->as_string =~ /<boolean>1</ ? 'true' : 'false');
my $bytes = join '', map { chr } 0 .. 255;
check('bytes', $bytes, answer('trial.echo', RPC::XML::base64->new($bytes))->value);
my $time = answer('trial.echo', RPC::XML::datetime_iso8601->new('19980717T14:08:55'));
check('time', '19980717T14:08:55', $time->value);
check('i8', '9223372036854775807', answer('trial.large')->value);
check('double of a signature', 'RPC::XML::double', ref answer('trial.double'));
$RPC::XML::ALLOW_NIL = 1;
check('nil', 'RPC::XML::nil', ref answer('trial.echo', RPC::XML::nil->new));
my $fault = answer('trial.fail');
check('fault', [42, "No, \"because\" <of> & \r\nü."], [$fault->code, decoded($fault->string)]);
check('unknown method', -32601, answer('no.method')->code);
check('introspection', [['double']], answer('system.methodSignature', 'trial.double')->value);
my $results = answer('system.multicall', [
    { methodName => 'trial.echo', params => ['a'] },
    { methodName => 'trial.double', params => [] },
    { methodName => 'trial.fail', params => [] },
])->value;
check('multicall', ['a', '3.0', 42], [$results->[0][0], $results->[1][0], $results->[2]{faultCode}]);

sub decoded {
    my ($text) = @_;
    return utf8::is_utf8($text) ? $text : decode('UTF-8', $text);
}
