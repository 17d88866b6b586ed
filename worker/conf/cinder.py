"""[cinder]: how Cinder is reached, for ``[volume] service = cinder``, and as whom."""

from oslo_config import cfg

GROUP = "cinder"

OPTIONS = [
    cfg.StrOpt(
        "cloud",
        help="Name of a cloud in openstacksdk's clouds.yaml, which then says all that the options"
        " from endpoint to keyfile would say, with any plugin of keystoneauth.",
    ),
    cfg.StrOpt(
        "endpoint",
        help="Cinder's URL, http://controller:8776/v3 for instance; unset, it is taken from the"
        " catalogue of the identity service. For auth_type = noauth the project is added to it,"
        " for admin_token it is used as it stands.",
    ),
    cfg.StrOpt(
        "auth_type",
        default="password",
        choices=[
            ("password", "Keystone, by name and password"),
            ("application_credential", "Keystone, by an application credential"),
            ("token", "Keystone, by a token that is exchanged"),
            ("admin_token", "no identity service: token is sent to endpoint as it is"),
            ("noauth", "no identity service: for a Cinder with auth_strategy = noauth"),
        ],
        help="How the worker proves to Cinder who it is. Its account needs rights over the volumes"
        " of every project (the role admin, or a policy) and the role service.",
    ),
    cfg.StrOpt("auth_url", help="Keystone's URL, http://controller:5000/v3 for instance."),
    cfg.StrOpt("username", default="blockworker", help="Name of the worker's user."),
    cfg.StrOpt("password", secret=True, help="Password of the worker's user."),
    cfg.StrOpt("user_domain_name", default="Default", help="Domain of the user."),
    cfg.StrOpt("project_name", default="service", help="Project in which the user acts."),
    cfg.StrOpt("project_domain_name", default="Default", help="Domain of the project."),
    cfg.StrOpt("project_id", help="Id of the project, for auth_type = noauth."),
    cfg.StrOpt("application_credential_id", help="Id of the application credential."),
    cfg.StrOpt("application_credential_secret", secret=True, help="Secret of that credential."),
    cfg.StrOpt("token", secret=True, help="Token, for auth_type = token or admin_token."),
    cfg.StrOpt("region_name", help="Region whose endpoint is meant."),
    cfg.StrOpt(
        "interface",
        default="internal",
        choices=["internal", "public", "admin"],
        help="Which of the endpoints in the catalogue is meant.",
    ),
    cfg.StrOpt("cafile", help="Certificates by which servers are known; PEM."),
    cfg.BoolOpt("insecure", default=False, help="Believe any server; for trying things out."),
    cfg.StrOpt("certfile", help="Certificate by which servers know the worker; PEM."),
    cfg.StrOpt("keyfile", help="Key of that certificate; PEM."),
    cfg.FloatOpt(
        "timeout",
        default=120.0,
        min=1.0,
        help="Seconds that Cinder may take to answer. Longer than Cinder waits for its own parts"
        " (rpc_response_timeout): else an export that takes its time is asked for again.",
    ),
    cfg.BoolOpt(
        "service_token",
        default=True,
        help="Send the worker's token as a service token too. Without one Cinder refuses to delete"
        " an attachment that is in use, and no volume can be detached (CVE-2023-2088).",
    ),
    cfg.StrOpt(
        "service_role",
        default="service",
        help="The role that makes an account a service to Cinder: one of the service_token_roles"
        " in its [keystone_authtoken]. At start the worker looks whether its account has it.",
    ),
    cfg.StrOpt(
        "attachments",
        default="auto",
        choices=[
            ("auto", "by attachments, as every Cinder since Queens (microversion 3.44)"),
            ("legacy", "by reserve, initialize_connection, attach, terminate_connection, detach"),
        ],
        help="How volumes are attached. Legacy is for a service that has no attachments, and lacks"
        " some of what they promise; docs/volumes.md says what. Change it while no volume is"
        " attached.",
    ),
]
