"""[api]: the REST tier."""

from oslo_config import cfg

GROUP = "api"

OPTIONS = [
    cfg.StrOpt(
        "listen",
        default="127.0.0.1:8774",
        help="Where the API is served, host:port. An address that other machines can reach is"
        " refused unless allow_remote says that it is meant.",
    ),
    cfg.BoolOpt(
        "allow_remote",
        default=False,
        help="Let [api] listen be an address that other machines can reach. It then needs auth to"
        " be other than none, and TLS: here, or, with behind_proxy, in front.",
    ),
    cfg.BoolOpt(
        "behind_proxy",
        default=False,
        help="A proxy in front of the API ends TLS; set public_url too, so that links are right.",
    ),
    cfg.StrOpt(
        "public_url",
        help="URL by which clients reach the API, for links and the catalogue; without it the one"
        " that they have asked.",
    ),
    cfg.StrOpt(
        "auth",
        default="token",
        choices=[
            ("token", "tokens of token_file, which is made at first start"),
            ("keystone", "keystonemiddleware, by its group [keystone_authtoken]"),
            ("none", "whoever asks is the administrator; loopback only"),
        ],
        help="How callers prove who they are.",
    ),
    cfg.StrOpt(
        "token_file",
        sample_default="<state_path>/api-tokens",
        help="File of tokens, mode 0600, for auth = token; made with one administrator's token when"
        " it is not there.",
    ),
    cfg.StrOpt("tls_certificate", help="Certificate of the API and its chain; PEM."),
    cfg.StrOpt("tls_key", help="Key of that certificate; PEM."),
    cfg.IntOpt(
        "threads",
        default=16,
        min=2,
        help="How many requests are answered at the same moment; more wait. Streams of updates are"
        " not counted.",
    ),
    cfg.IntOpt(
        "streams",
        default=64,
        min=0,
        help="How many streams of updates may be open; one more is refused.",
    ),
    cfg.IntOpt(
        "body_limit",
        default=114688,
        min=1024,
        max=16777216,
        help="Bytes that a request's body may have.",
    ),
    cfg.IntOpt("page_limit", default=1000, min=1, help="The most items that one answer lists."),
    cfg.FloatOpt(
        "call_timeout",
        default=10.0,
        min=0.5,
        help="Seconds that a worker may take to answer the API; then the request is given up, and"
        " what it had reserved is given back.",
    ),
    cfg.FloatOpt(
        "accepting",
        default=60.0,
        min=1.0,
        help="Seconds after its request within which an attach has to begin; later the worker gives"
        " it up. A reservation of the API's that is older is taken for one whose API died.",
    ),
    cfg.StrOpt(
        "flavors",
        help="File of the flavors, TOML; without it a few small ones. docs/api.md says what is in"
        " it.",
    ),
    cfg.StrOpt(
        "network",
        default="none",
        help="What a server has that is asked for with networks = auto, as clients do by default:"
        " none (no interface), user (QEMU's own network) or bridge:<name>, a bridge that every host"
        " has.",
    ),
]
