# A client of old WebSocket versions, on the library websocket: legacy.rb VERSION echo|session URL [CA-FILE]
# Ends with 0 when all was as it should be; else it says what was not.
require 'json'
require 'openssl'
require 'socket'
require 'timeout'
require 'uri'
require 'websocket'

class Client
  def initialize(version, url, ca)
    @version = version
    @url = url
    uri = URI.parse(url)
    @socket = TCPSocket.new(uri.host, uri.port)
    @socket.setsockopt(Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1)
    @socket = secure(@socket, ca) if uri.scheme == 'wss'
    page = uri.scheme == 'wss' ? 'https' : 'http'
    @handshake = WebSocket::Handshake::Client.new(
      url: url, version: version, origin: "#{page}://#{uri.host}:#{uri.port}", protocols: ['throughline.v1']
    )
  end

  def secure(socket, ca)
    context = OpenSSL::SSL::SSLContext.new
    context.ca_file = ca
    context.verify_mode = OpenSSL::SSL::VERIFY_PEER
    tls = OpenSSL::SSL::SSLSocket.new(socket, context)
    tls.hostname = 'localhost'
    tls.connect
    tls
  end

  def more(what)
    @socket.readpartial(65_536)
  rescue EOFError, Errno::ECONNRESET
    raise "the server closed before #{what}"
  end

  # False when the library refuses a handshake of 76 that is right: it strips white space from the digest.
  def shake_hands
    @socket.write(@handshake.to_s)
    raw = String.new('')
    raw << more(@version == 76 ? 'the digest' : 'the head') until whole?(raw)
    # At once: the library reads every header again with each piece.
    @handshake << raw
    return false unless @handshake.valid?

    location = @handshake.headers["#{'sec-' if @version == 76}websocket-location"]
    raise "the server names the location #{location}" if @version > 20 && location != @url

    @frames = WebSocket::Frame::Incoming::Client.new(version: @version)
    true
  end

  def whole?(raw)
    _, rest = raw.b.split("\r\n\r\n".b, 2)
    rest && (@version != 76 || rest.bytesize >= 16)
  end

  def say(text, type = :text)
    @socket.write(WebSocket::Frame::Outgoing::Client.new(version: @version, data: text, type: type).to_s)
  end

  def next_frame
    loop do
      frame = @frames.next
      raise "frame: #{@frames.error}" if @frames.error?
      return frame if frame

      @frames << more('a message')
    end
  end

  def finish
    say('', :close)
    nil until next_frame.type == :close
  end

  def echo
    ['text', 'ä€😀 Grüße', 'long ' * 40_000].each do |text|
      say(text)
      raise 'not echoed' unless next_frame.to_s.b == text.b
    end
  end

  def await(type)
    loop do
      message = JSON.parse(next_frame.to_s)
      return message if message['type'] == type
    end
  end

  def session
    channel = "old-#{Process.pid}"
    say(JSON.generate(type: 'connect', versions: [1]))
    await('welcome')
    say(JSON.generate(type: 'subscribe', id: 1, channel: channel, from: 'new'))
    await('reply')
    say(JSON.generate(type: 'publish', id: 2, channel: channel, data: 'Grüße'))
    raise 'another event' unless await('event')['data'] == 'Grüße'
  end
end

WebSocket.max_frame_size = 4 << 20
WebSocket.should_raise = false
version, mode, url, ca = ARGV
begin
  Timeout.timeout(30) do
    client = nil
    done = 5.times.any? do
      client = Client.new(version.to_i, url, ca)
      client.shake_hands
    end
    raise 'the library took none of five handshakes' unless done

    mode == 'echo' ? client.echo : client.session
    client.finish
  end
  puts 'ok'
rescue StandardError => e
  warn e.message
  exit 1
end
