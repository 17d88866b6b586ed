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
    cfg.IntOpt(
        "retention_days",
        default=30,
        min=0,
        max=36500,
        help="What 'blockworker db purge' leaves: it deletes what was removed, ended or published"
        " longer ago than so many days. An operation that is forgotten is carried out again if"
        " its message is sent again.",
    ),
]
