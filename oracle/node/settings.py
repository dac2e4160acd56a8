"""The node's settings: one frozen value from a TOML file, the environment and a folder of secrets.

The environment (DIDYMA_RPC_URLS) wins over the secrets folder (a file DIDYMA_RPC_URLS in $DIDYMA_SECRETS_DIR), which
wins over the file. Unknown names are errors in all three. What the protocol fixes (prices, windows, bonds) is not here:
it is read from the chain. Keys are not here either: only where their keystores are.
"""

import os
import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from oracle import ENVIRONMENT_PREFIX
from oracle.chain.units import address_of
from oracle.engines.devices import Devices
from oracle.engines.servers import EngineServer
from oracle.errors import BadSettings
from oracle.ids import ModelId, ServiceId
from oracle.models.files import at_home

INTEL = "https://api.trustedservices.intel.com"
OUTSIDE = ("DIDYMA_CONFIG", "DIDYMA_SECRETS_DIR", "DIDYMA_CRASH_AT", "DIDYMA_KERNELS")
"""Names in the environment that are not settings."""


def _items(value: Any) -> Any:
    """A list in the environment is separated by commas or blanks."""
    return [item for item in re.split(r"[,\s]+", value) if item] if isinstance(value, str) else value


def _address(value: str) -> str:
    return str(address_of(value))


def _bytes32(value: str) -> str:
    if not re.fullmatch(r"0x[0-9a-fA-F]{64}", value):
        raise ValueError("not 32 bytes in hexadecimal")
    return value.lower()


def _line(value: Any) -> Any:
    """Without the end of its line: a secret often comes from a file, which ends with one."""
    return value.removesuffix("\n").removesuffix("\r") if isinstance(value, str) else value


Items = BeforeValidator(_items)
Secret = Annotated[SecretStr, BeforeValidator(_line)]
Address = Annotated[str, AfterValidator(_address)]
Bytes32 = Annotated[str, AfterValidator(_bytes32)]
Wei = Annotated[int, Field(ge=0, lt=1 << 128)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class Settings(BaseSettings):
    """Everything an operator decides. Times in seconds, amounts in wei, relative paths from the settings file."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True, env_ignore_empty=True
    )

    # -- chain
    rpc_urls: Annotated[list[SecretStr], NoDecode, Items, Field(min_length=1)]
    """Endpoints, best first. They may hold credentials and are shown nowhere."""
    ws_urls: Annotated[list[SecretStr], NoDecode, Items] = []
    """Websockets of endpoints that announce new heads: the node looks at once, not at the next poll. Shown nowhere."""
    deployment: Path
    """The JSON file with the contracts' addresses."""
    services: Annotated[list[Bytes32], NoDecode, Items, Field(min_length=1)]
    """Services to answer (where one of our keys operates a seat), watch and vote for: an allow-list."""
    confirmations: Annotated[int, Field(ge=0, le=1000)] = 2
    """Blocks on top of an event before the node acts on it."""
    finality: Annotated[int, Field(ge=2, le=8000)] = 64
    """Blocks after which nothing can change; a deeper reorganisation stops the node."""
    poll_seconds: Seconds = 2.0
    """Time between two looks at the chain's head."""
    rpc_timeout_seconds: Seconds = 10.0
    """How long an endpoint may take for a reply."""

    # -- keys
    keystore: Path | None = None
    """The operator key: answers and votes. Without it (and without a remote signer) the node runs dry."""
    password_file: Path | None = None
    """The password of `keystore`, in a file that its owner alone may read."""
    dispute_keystore: Path | None = None
    """A key of its own for challenges and panel moves that any key may send; the operator's if there is none."""
    dispute_password_file: Path | None = None
    """The password of `dispute_keystore`."""
    signer_url: Secret | None = None
    """A remote signer for the operator key (eth_signTransaction), instead of a keystore."""
    address: Address | None = None
    """The operator's address: of the remote signer's key, or the one to simulate a dry run as."""

    # -- files
    data_dir: Path = Path("~/.didyma")
    """The journal, and a file about each answer of others found wrong."""
    ballast_mib: Annotated[int, Field(ge=1, le=4096)] = 64
    """Disk space held back, so that a full disk still takes the dispute moves: 64 hold some 10,000."""
    models: Path = Path("~/.didyma/models")
    """The folder of `didyma model add`."""

    # -- what to do
    answer: bool = True
    """Answer requests in the turns of this node's seats."""
    watch: bool = True
    """Check others' answers and challenge wrong ones."""
    watch_percent: Annotated[int, Field(ge=0, le=100)] = 100
    """Share of others' answers to check, chosen by a secret."""
    vote: bool = True
    """Vote on panels."""
    finalize_batch: Annotated[int, Field(ge=1, le=100)] = 20
    """Most answers that one transaction finalizes."""
    finalize_wait_seconds: Annotated[int, Field(ge=0, le=86_400)] = 0
    """How long a finished answer may wait for company."""
    finalize_others: bool = True
    """Finalize answers that others leave lying, when their callback pays for it."""
    refund_expired: bool = True
    """Close requests whose deadline passed; costs gas and earns nothing but the payers' trust."""
    stagger_seconds: Annotated[int, Field(ge=0, le=600)] = 24
    """What any node may send is sent by one after the other, this far apart: two blocks or more."""

    # -- money
    reserve_wei: Wei = 10**16
    """Balance that is kept for disputes: below it the node takes no turns."""
    bond_budget_wei: Wei | None = None
    """Most ether in bonds of this node's challenges at a time; no limit if it is not set."""
    withdraw_to: Address | None = None
    """The cold owner; credit of the node's keys goes there."""
    withdraw_above_wei: Wei = 10**17
    """Credit from which it is sent there."""
    max_fee_gwei: Annotated[int, Field(ge=1, le=100_000)] = 2_000
    """Wei per gas, in 10^9, that nothing exceeds."""
    min_tip_wei: Wei = 10**6
    """Least tip, in wei per gas. What the last blocks paid, and what endpoints refuse with, count as well."""

    # -- engine
    gpus: Annotated[list[str], NoDecode, Items] = Field(default_factory=list)
    """One worker for each; none for the CPU. Several joined by `+` hold one model together, each a share: `0+1`."""
    gpu_layers: Annotated[int, Field(ge=-1, le=10_000)] = 0
    """Layers that llama.cpp keeps in a GPU's memory; -1 for all."""
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """CPU threads of an engine; half the machine's if it is not set."""
    batch: Annotated[int, Field(ge=1, le=8192)] | None = None
    """Tokens that llama.cpp evaluates at a time; from 64 on it is coarser on CPUs."""
    cache_mib: Annotated[int, Field(ge=16, le=1 << 20)] | None = None
    """Memory for what the exact engine's jobs have read, for each worker; a job that does not fit waits. 2048 if it is
    not set; a single job may take more."""
    fleet_url: Secret | None = None
    """The Postgres database of a fleet (`didyma fleet work` on other machines): engines are there, and none here. Shown
    nowhere."""
    standby: bool = False
    """Other daemons have the same keys: of those with this `fleet_url` one signs at a time, and another takes over."""

    engine_servers: Annotated[list[SecretStr], NoDecode, Items] = Field(default_factory=list)
    """Servers that compute in llama.cpp's place, for services with a tolerance: `MODEL=KIND+URL`, of kind vllm, sglang
    or llama.cpp, with `#NAME` where the server has several models. They may hold a token and are shown nowhere."""

    # -- TEE
    tee: Literal["none", "tdx", "dev"] = "none"
    """Where this node's keys are made: in a TDX guest, or in software that proves nothing; "none": nowhere. Where there
    are keys, engines run on a sealed copy of their model, and on GPUs only if these pass NVIDIA's verifier."""
    collateral_url: str = INTEL
    """Where Intel's documents come from, up to the path that begins with /sgx or /tdx."""

    prompts_host: str = "127.0.0.1"
    """Where anyone may leave private prompts too long for the chain."""
    prompts_port: Annotated[int, Field(ge=0, le=65_535)] = 0
    """0 for none of that."""
    prompt_bytes: Annotated[int, Field(ge=1_024, le=1 << 24)] = 1 << 18
    """Most that one of them may have. Up to 64 are kept in memory."""

    # -- HTTP
    api_host: str = "127.0.0.1"
    """Where the node's own pages and metrics are."""
    api_port: Annotated[int, Field(ge=0, le=65_535)] = 8547
    """0 for no API."""
    api_token: Secret | None = None
    """Asked of every caller as `Authorization: Bearer`; needed when the API listens beyond this machine."""
    api_names: Annotated[list[str], NoDecode, Items] = Field(default_factory=list)
    """More host names under which the API may be addressed."""

    inference_host: str = "127.0.0.1"
    """Where callers ask this node's exact models over an OpenAI-compatible API."""
    inference_port: Annotated[int, Field(ge=0, le=65_535)] = 0
    """0 for none of that."""
    inference_callers: Path | None = None
    """Who may: a file with a name, a token and model tokens a minute in each line."""

    # -- process
    log_format: Literal["console", "json"] = "console"
    """Lines for people, or as JSON."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is logged."""
    grace_seconds: Seconds = 20.0
    """How long an answer in the making may take to finish after SIGTERM."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.confirmations >= self.finality:
            raise ValueError("confirmations must be below finality")
        if self.signer_url is not None and (self.keystore is not None or self.address is None):
            raise ValueError("signer_url needs address, and excludes keystore")
        if self.dispute_keystore is not None and not self.can_sign:
            raise ValueError("dispute_keystore needs an operator key beside it")
        if self.api_port and not self.api_is_local and self.api_token is None:
            raise ValueError(f"the API would listen on {self.api_host}: set api_token, or api_host to 127.0.0.1")
        if self.inference_port and self.inference_callers is None:
            raise ValueError("inference_port needs inference_callers: nobody may ask without a token")
        if self.fleet_url is not None and self.tee != "none":
            raise ValueError("fleet_url excludes tee: other machines are not in this one's measurement")
        if self.standby and (self.fleet_url is None or not self.can_sign):
            raise ValueError("standby needs fleet_url, where daemons agree on who signs, and a key")
        if self.prompts_port and self.tee == "none":
            raise ValueError("prompts_port needs tee: nobody else can read private prompts")
        if self.api_token is not None and not re.fullmatch(r"[!-~]{16,}", self.api_token.get_secret_value()):
            raise ValueError("api_token must have at least 16 characters, all visible ones of ASCII")  # it is a header
        joins_devices = any(each.count > 1 for each in self.devices)
        if self.tee != "none" and joins_devices:
            raise ValueError("gpus: joined devices exclude tee: nothing says who can read what they send each other")
        if len(self.servers) < len(self.engine_servers):
            raise ValueError("engine_servers names a model twice")
        return self

    @property
    def can_sign(self) -> bool:
        """Whether there is a key; without one the node runs dry."""
        return self.keystore is not None or self.signer_url is not None

    @property
    def api_is_local(self) -> bool:
        """Whether only this machine can reach the API."""
        try:
            return ip_address(self.api_host).is_loopback
        except ValueError:
            return self.api_host == "localhost"

    @property
    def devices(self) -> list[Devices]:
        """Of `gpus`, by worker."""
        try:
            return [Devices.parse(text) for text in self.gpus]
        except BadSettings as error:
            raise ValueError(str(error)) from None

    @property
    def service_ids(self) -> list[ServiceId]:
        """The allow-list as bytes."""
        return [ServiceId(bytes.fromhex(service[2:])) for service in self.services]

    @property
    def servers(self) -> dict[ModelId, EngineServer]:
        """Of `engine_servers`, by model."""
        found = {}
        for text in (secret.get_secret_value() for secret in self.engine_servers):
            model, _, server = text.partition("=")
            if not re.fullmatch(r"0x[0-9a-fA-F]{64}", model):
                raise ValueError("engine_servers: MODEL=KIND+URL, with the model's whole id")
            try:
                found[ModelId(bytes.fromhex(model[2:]))] = EngineServer.parse(server)
            except BadSettings as error:
                raise ValueError(f"engine_servers: {error}") from None
        return found

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Values given in code, then the environment, then secrets, then the file."""
        return init_settings, env_settings, file_secret_settings, TomlConfigSettingsSource(settings_cls)


def load(config: Path | None = None, **values: Any) -> Settings:
    """Reads the settings. config: a TOML file; by default $DIDYMA_CONFIG, if set. values: win over everything.

    Raises BadSettings, whose message names settings but never their values.
    """
    file = config or (Path(found) if (found := os.environ.get("DIDYMA_CONFIG")) else None)
    secrets = os.environ.get("DIDYMA_SECRETS_DIR")
    known = {ENVIRONMENT_PREFIX + name.upper() for name in Settings.model_fields}
    given = {name for name in os.environ if name.upper().startswith(ENVIRONMENT_PREFIX)} - set(OUTSIDE)
    if secrets is not None and Path(secrets).is_dir():
        given |= {path.name for path in Path(secrets).iterdir() if not path.name.startswith(".")}
    if unknown := sorted(given - known):
        raise BadSettings(f"unknown names in the environment: {', '.join(unknown)}")
    if file is not None and not file.is_file():
        raise BadSettings(f"{file}: no such settings file; `didyma node init` writes one")

    class Sourced(Settings):
        model_config = SettingsConfigDict(toml_file=file, secrets_dir=secrets)

    try:
        settings = Sourced(**values)
    except ValidationError as error:
        raise BadSettings(
            "; ".join(f"{'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg']}" for e in error.errors())
        ) from None
    except ValueError as error:  # no TOML, or no UTF-8
        raise BadSettings(f"{file}: {error}") from None
    base = Path.cwd() if file is None else file.resolve().parent
    paths = {name: getattr(settings, name) for name in Settings.model_fields}
    resolved = {name: base / at_home(path) for name, path in paths.items() if isinstance(path, Path)}
    return settings.model_copy(update=resolved)
