# A client of old WebSocket versions, on Protocol::WebSocket: legacy.pl VERSION echo|session URL [CA-FILE]
# Ends with 0 when all was as it should be; else it says what was not.
use strict;
use warnings;
use utf8;
use Encode qw(encode decode);
use IO::Socket::INET;
use IO::Socket::SSL;
use JSON::PP;
use Protocol::WebSocket::Frame;
use Protocol::WebSocket::Handshake::Client;

my ($version, $mode, $url, $ca) = @ARGV;
my %names = (75 => 'draft-hixie-75', 76 => 'draft-ietf-hybi-00', 8 => 'draft-ietf-hybi-10', 13 => 'draft-ietf-hybi-17');
my ($scheme, $host, $port) = $url =~ m{^(wss?)://([^:/]+):(\d+)/} or die "no URL: $url\n";
$SIG{ALRM} = sub { die "nothing came for 30 s\n" };
alarm 30;

my $socket = $scheme eq 'ws'
    ? IO::Socket::INET->new(PeerHost => $host, PeerPort => $port)
    : IO::Socket::SSL->new(PeerHost => $host, PeerPort => $port, SSL_ca_file => $ca, SSL_verifycn_name => 'localhost', SSL_verifycn_scheme => 'http');
$socket or die "connecting failed: " . ($! || $IO::Socket::SSL::SSL_ERROR) . "\n";

my $input = '';
sub more {
    my $n = sysread($socket, my $bytes, 65536);
    die "the server closed before $_[0]\n" unless $n;
    $input .= $bytes;
}

my $page = $scheme eq 'ws' ? 'http' : 'https';
my $client = Protocol::WebSocket::Handshake::Client->new(url => $url, version => $names{$version});
$client->req->origin("$page://$host:$port");
$client->req->subprotocol('throughline.v1') if $version > 75;
print {$socket} $client->to_string;
until ($client->is_done) {
    more($version == 76 ? 'the digest' : 'the head');
    $client->parse($input) or die $client->error . "\n";
}
if ($version > 13) {
    die 'the server names the location ' . $client->res->location . "\n" unless $client->res->location eq $url;
}

my $frames = $client->build_frame(max_payload_size => 0);
sub say_frame {
    my %what = @_;
    print {$socket} $client->build_frame(max_payload_size => 0, %what)->to_bytes;
}
sub next_text {
    while (1) {
        $frames->append($input);
        $input = '';
        my $bytes = $frames->next_bytes;
        return $bytes if defined $bytes;
        more('a message');
    }
}
sub close_now {
    say_frame(type => 'close', buffer => $version < 20 ? pack('n', 1000) : '');
    next_text() until $frames->is_close;
}

sub echo {
    for my $text ('text', 'ä€😀 Grüße', 'long ' x 40_000) {
        my $bytes = encode('UTF-8', $text);
        say_frame(type => 'text', buffer => $bytes);
        die "not echoed\n" unless next_text() eq $bytes;
    }
}

sub session {
    my $json = JSON::PP->new->utf8;
    my $ask = sub { say_frame(type => 'text', buffer => $json->encode($_[0])) };
    my $await = sub {
        while (1) {
            my $message = $json->decode(next_text());
            return $message if $message->{type} eq $_[0];
        }
    };
    my $channel = "old-$$";
    $ask->({type => 'connect', versions => [1]});
    $await->('welcome');
    $ask->({type => 'subscribe', id => 1, channel => $channel, from => 'new'});
    $await->('reply');
    $ask->({type => 'publish', id => 2, channel => $channel, data => 'Grüße'});
    die "another event\n" unless $await->('event')->{data} eq 'Grüße';
}

$mode eq 'echo' ? echo() : session();
close_now();
print "ok\n";
