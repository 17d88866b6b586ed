"""[database]: where rows, journal and outbox are kept."""

from oslo_config import cfg

GROUP = "database"

OPTIONS = [
    cfg.StrOpt(
        "connection",
        secret=True,
        sample_default="sqlite:///<state_path>/blockworker.sqlite",
        help="SQLAlchemy URL: sqlite:////path, postgresql+psycopg://user:password@host/name or"
        " mysql+pymysql://user:password@host/name. SQLite serves one host; a fleet shares one"
        " PostgreSQL or MariaDB.",
    ),
]
