# Perl's Frontier::Client: frontier.pl URL prints one line for each check, "ok NAME" or what is wrong.
use strict;
use warnings;
use utf8;
use Data::Dumper;
use Frontier::Client;

binmode STDOUT, ':utf8';
$Data::Dumper::Sortkeys = $Data::Dumper::Indent = $Data::Dumper::Terse = 1;
$Data::Dumper::Indent = 0;

sub check {
    my ($name, $expected, $actual) = @_;
    my ($e, $a) = (Dumper($expected), Dumper($actual));
    # A number and its text are the same to Perl.
    s/'(-?\d+(?:\.\d+)?)'/$1/g for $e, $a;
    print $e eq $a ? "ok $name\n" : "wrong $name: $a, not $e\n";
}

my $server = Frontier::Client->new(url => $ARGV[0], encoding => 'UTF-8');
my %values = (
    int => -12,
    string => "  a <&> \n\t'\"]]> ",
    empty => '',
    double => -12.25,
    array => [1, ['two', [3.5]], []],
    struct => { '__proto__' => 'x', 'a b' => { '' => 1 } },
);
for my $name (sort keys %values) {
    check($name, $values{$name}, $server->call('trial.echo', $values{$name}));
}
check('all', [\%values, 1], $server->call('echo.echo', \%values, 1));
check('none', [], $server->call('echo.echo'));
check('characters', " ü中\x{1f600}\r\n", $server->call('trial.characters'));
check('boolean', 1, $server->call('trial.echo', $server->boolean(1))->value);
my $bytes = join '', map { chr } 0 .. 255;
use MIME::Base64;
check('bytes', encode_base64($bytes, ''), $server->call('trial.echo', $server->base64(encode_base64($bytes)))->value);
check('time', '19980717T14:08:55', $server->call('trial.echo', $server->date_time('19980717T14:08:55'))->value);
check('double of a signature', '3.0', $server->call('trial.double'));
eval { $server->call('trial.fail') };
check('fault', 1, $@ =~ /42/ && $@ =~ /No, "because" <of> & \r\nü\./ ? 1 : $@);
eval { $server->call('no.method') };
check('unknown method', 1, $@ =~ /-32601/ ? 1 : $@);
check('introspection', [['double']], $server->call('system.methodSignature', 'trial.double'));
my $results = $server->call('system.multicall', [
    { methodName => 'trial.echo', params => ['a'] },
    { methodName => 'trial.double', params => [] },
    { methodName => 'trial.fail', params => [] },
]);
check('multicall', ['a', '3.0', 42], [$results->[0][0], $results->[1][0], $results->[2]{faultCode}]);
