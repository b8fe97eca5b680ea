# Varnish in front of a Throughline realm. Start it with: varnishd -a {{listen}} -f THIS_FILE -p pipe_timeout=75
vcl 4.1;

backend realm {
    .host = "{{upstream_host}}";
    .port = "{{upstream_port}}";
    .first_byte_timeout = 75s;
    .between_bytes_timeout = 75s;  # longer than any heartbeat
}

sub vcl_recv {
    # Set anew, so that no client can write them. Behind a proxy that speaks TLS, leave them as they are.
    set req.http.X-Forwarded-For = client.ip;
    set req.http.X-Forwarded-Proto = "http";
    set req.http.X-Forwarded-Host = req.http.Host;
@root    unset req.http.X-Forwarded-Prefix;
@prefix    set req.http.X-Forwarded-Prefix = "{{prefix}}";
@prefix    set req.url = regsub(req.url, "^{{prefix}}/", "/");
    # Varnish takes no part in a WebSocket: bytes pass as they are.
    if (req.http.Upgrade) {
        return (pipe);
    }
    # Nothing of a realm may be kept.
    return (pass);
}

sub vcl_pipe {
    set bereq.http.Upgrade = req.http.Upgrade;
    set bereq.http.Connection = req.http.Connection;
}

sub vcl_backend_response {
    set beresp.do_stream = true;
    set beresp.do_gzip = false;
    set beresp.uncacheable = true;
}
