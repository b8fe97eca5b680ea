//! The page and the scripts that are built into the server.

use std::sync::LazyLock;

use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, REFERRER_POLICY,
};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};

use super::answer::whole;
use super::body::Body;

/// Scripts, styles, connections and frames from the realm alone, nothing inline, and no frame around it.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file that is part of the program.
#[derive(Debug)]
pub(super) struct Asset {
    path: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
    policy: Option<&'static str>,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

static ASSETS: [Asset; 9] = [
    Asset {
        path: "/",
        kind: "text/html; charset=utf-8",
        bytes: include_bytes!("../../assets/index.html"),
        policy: Some(PAGE_POLICY),
    },
    Asset {
        path: "/throughline/v1/page.js",
        kind: SCRIPT,
        bytes: include_bytes!("../../assets/page.js"),
        policy: None,
    },
    Asset {
        path: "/throughline/v1/doctor.js",
        kind: SCRIPT,
        bytes: include_bytes!("../../assets/doctor.js"),
        policy: None,
    },
    Asset {
        path: "/throughline/v1/page.css",
        kind: "text/css; charset=utf-8",
        bytes: include_bytes!("../../assets/page.css"),
        policy: None,
    },
    Asset {
        path: "/throughline/v1/client.js",
        kind: SCRIPT,
        bytes: include_bytes!("../../assets/throughline.js"),
        policy: None,
    },
    Asset {
        path: "/throughline/v1/client-websocket.js",
        kind: SCRIPT,
        bytes: include_bytes!("../../assets/throughline-websocket.js"),
        policy: None,
    },
    Asset {
        path: "/throughline/v1/client-shared.js",
        kind: SCRIPT,
        bytes: include_bytes!("../../assets/throughline-shared.js"),
        policy: None,
    },
    Asset {
        path: "/throughline/v1/worker.js",
        kind: SCRIPT,
        bytes: include_bytes!("../../assets/throughline-worker.js"),
        policy: None,
    },
    Asset {
        path: "/throughline/v1/client.iife.js",
        kind: SCRIPT,
        bytes: include_bytes!("../../assets/throughline.iife.js"),
        policy: None,
    },
];

static TAGS: LazyLock<[String; ASSETS.len()]> =
    LazyLock::new(|| std::array::from_fn(|i| tag(ASSETS.get(i).map_or(&[], |asset| asset.bytes))));

/// FNV-1a: tells one version of a file from another; no secret and no defence.
fn tag(bytes: &[u8]) -> String {
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("\"{hash:016x}\"")
}

impl Asset {
    pub(super) fn at(path: &str) -> Option<&'static Asset> {
        ASSETS.iter().find(|asset| asset.path == path)
    }

    fn tag(&self) -> &'static str {
        let at = ASSETS.iter().position(|asset| asset.path == self.path);
        at.and_then(|at| TAGS.get(at)).map_or("", |tag| tag)
    }
}

/// The file, or word that the client has it already.
pub(super) fn answer(asset: &'static Asset, head: &Parts) -> Response<Body> {
    let known = head.headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut response = if known.flat_map(|list| list.split(',')).any(|entry| matches(entry, asset.tag())) {
        whole(StatusCode::NOT_MODIFIED, "")
    } else {
        whole(StatusCode::OK, asset.bytes)
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(ETAG, HeaderValue::from_static(asset.tag()));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    if let Some(policy) = asset.policy {
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    }
    response
}

/// RFC 9110 section 13.1.2: weak comparison; `*` stands for any.
fn matches(entry: &str, tag: &str) -> bool {
    let entry = entry.trim();
    entry == "*" || entry.strip_prefix("W/").unwrap_or(entry) == tag
}
