"""`didyma tee`: quotes and what they are worth, Intel's documents on chain, the keys and policies that rest on them.

Evidence is judged here off chain, to tell why; what counts is the contracts' verdict. A service's guardian, a key's
node, and whoever keeps documents fresh or has keys admitted send from here, with the options of `didyma seat`.
"""

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from web3 import Web3

from oracle.attestation import identity, keeper
from oracle.attestation.attested_keys import QuoteProducer
from oracle.attestation.collateral import ROOT, Collateral
from oracle.attestation.configfs import ConfigfsTsm
from oracle.attestation.dev import MACHINE
from oracle.attestation.keeper import DevSource, OnChain, Pccs, Read, Source
from oracle.attestation.quote import Quote
from oracle.attestation.verifier import Policy, judge
from oracle.chain.bindings import Binding
from oracle.chain.connect import connect
from oracle.chain.deployment import artifact
from oracle.chain.units import ETHER, NOBODY
from oracle.cli.arguments import ServiceArgument, address, bytes32, wei
from oracle.cli.connection import (
    DeploymentOption,
    DryRunOption,
    KeystoreOption,
    PasswordOption,
    RpcUrlOption,
    Wallet,
    reading,
    sending,
    wallet,
)
from oracle.cli.report import JsonOption, print_json, reported
from oracle.cli.trust import AdvisoryOption, ConfigurationOption, EvaluationOption
from oracle.client import OracleClient
from oracle.errors import Refused
from oracle.ids import ServiceId

app = typer.Typer(help="Evidence from TEEs: quotes, documents, keys, policies.", no_args_is_help=True)
console = Console(highlight=False, soft_wrap=True, markup=False)
DAY = 86_400

DevOption = Annotated[bool, typer.Option("--dev", help="The dev TEE of local chains, which proves nothing.")]
UrlOption = Annotated[str, typer.Option(help="Intel's service or a cache of it, where documents are fetched.")]
QuoteArgument = Annotated[Path, typer.Argument(help="A quote, as the machine made it.")]
SignerArgument = Annotated[str, typer.Argument(help="The key's address.")]


# EVIDENCE


@app.command()
def quote(
    *,
    dev: DevOption = False,
    out: Annotated[Path | None, typer.Option(help="File to write the quote to.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a quote on this machine, with report data of zeros: the ids that policies name, and what is in them."""
    with reported():
        producer: QuoteProducer = MACHINE if dev else ConfigfsTsm()
        made = producer.quote(bytes(64))
        if out is not None:
            out.write_bytes(made.raw)
        if as_json:
            print_json(_ids(made, dev) | {"registers": identity.registers(made)})
            return
        _print_ids(made, dev)
        for name, value in identity.registers(made).items():
            console.print(f"  {name:<14} 0x{value.hex()}")


@app.command()
def verify(
    file: QuoteArgument,
    *,
    collateral: Annotated[
        Path | None, typer.Option(help="Documents as JSON, in the form that dcap-qvl writes.")
    ] = None,
    url: UrlOption = "",
    dev_root: Annotated[
        bool,
        typer.Option("--dev-root", help="Trust the root of the dev TEE, and its documents unless others are given."),
    ] = False,
    evaluation: EvaluationOption = 0,
    configuration: ConfigurationOption = False,
    advisory: AdvisoryOption = None,
    grace_days: Annotated[
        float, typer.Option(min=0, max=36_500, help="Days for which platforms may be out of date.")
    ] = 0,
    since: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Unix time at which the evaluation first stood on chain, as `didyma tee collateral` says: the grace "
            "counts from there.",
        ),
    ] = None,
    at: Annotated[int | None, typer.Option("--time", min=0, help="Unix time to judge at; now by default.")] = None,
    rpc_url: Annotated[
        str,
        typer.Option(help="RPC endpoint of the chain whose time is now.", envvar="DIDYMA_RPC_URLS"),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Judge a quote off chain. If it is refused, the reason is printed and the exit status is 1."""
    with reported():
        given = _read_quote(file)
        documents = _documents(given, collateral, url, dev_root, evaluation)
        now = _present(rpc_url) if at is None else at
        policy = Policy(configuration, int(grace_days * DAY), tuple(advisory or ()), evaluation)
        found = judge(given, documents, now, policy, MACHINE.root if dev_root else None, since)
        status, advisories = found.level.status, [f"INTEL-SA-{number:05}" for number in sorted(found.level.advisories)]
        if as_json:
            judged = {"status": status, "advisories": advisories, "evaluation": found.evaluation}
            dates = {"issued": found.issued_at, "valid_until": found.expires_at, "judged_at": now}
            print_json(judged | dates | _ids(given, dev_root) | {"report_data": given.report_data})
            return
        console.print(f"status       {status}")
        console.print(f"advisories   {', '.join(advisories) or 'none'}")
        console.print(f"evaluation   {found.evaluation}")
        console.print(f"documents    issued {_utc(found.issued_at)}, valid until {_utc(found.expires_at)}")
        console.print(f"judged at    {_utc(now)}")
        _print_ids(given, dev_root)
        console.print(f"report data  0x{given.report_data.hex()}")


# WHAT STANDS ON CHAIN


@app.command()
@reading
def status(
    client: OracleClient,
    service: Annotated[str, typer.Option(help="A service's id; all that have a policy by default.")] = "",
    as_json: JsonOption = False,
) -> None:
    """The contracts behind attested answers; each service's policy and keys."""
    wanted = [_policy(client, bytes32(service))] if service else _policies(client)
    is_dev = client.collateral.functions.isDev().call()
    if as_json:
        contracts = {name: getattr(client, name).address for name in ("attester", "verifier", "collateral")}
        generation = client.collateral.functions.generation().call()
        services = [
            {
                "service": adopted["service"],
                "policy": adopted["policy"],
                "caps": dict(
                    zip(("cap_wei", "grace_cap_wei", "version"), _caps(client, adopted["service"]), strict=True)
                ),
                "least_evaluation": client.attester.functions.leastEvaluationOf(adopted["service"]).call(),
                "keys": _keys(client, adopted["service"]),
            }
            for adopted in wanted
        ]
        print_json({**contracts, "is_dev": is_dev, "generation": generation, "services": services})
        return
    console.print(f"attester     {client.attester.address}")
    console.print(f"verifier     {client.verifier.address}")
    console.print(f"collateral   {client.collateral.address}")
    console.print(
        f"kind         {'dev: what it verifies proves nothing' if is_dev else 'dcap: under the root of Intel'}"
    )
    console.print(f"generation   {client.collateral.functions.generation().call()}")
    for adopted in wanted:
        _print_policy(client, ServiceId(adopted["service"]), adopted["policy"])
        _print_keys(client, ServiceId(adopted["service"]))


@app.command()
def collateral(
    file: QuoteArgument,
    *,
    url: UrlOption = "",
    dev: DevOption = False,
    evaluation: EvaluationOption = 0,
    post: Annotated[bool, typer.Option("--post", help="Send what is needed.")] = False,
    rpc_url: RpcUrlOption = None,
    deployment: DeploymentOption = None,
    keystore: KeystoreOption = None,
    password_file: PasswordOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Intel's documents on chain about a quote's platform: what stands, until when, and what is needed."""
    with reported():
        if dev == bool(url):
            raise Refused("give either --url or --dev: where documents come from")
        poster = wallet(rpc_url, deployment, keystore if post else None, password_file, dry_run or not post, as_json)
        given, client = _read_quote(file), poster.client
        source: Source = DevSource(MACHINE) if dev else Pccs(url)
        read, now = _reads(client)
        documents = asyncio.run(source.fetch(given, evaluation))
        keeper.check(documents, given, now, source.root)
        _say_on_chain(poster, read, now, given, documents)
        on_chain = asyncio.run(OnChain.read(read, given, documents.evaluation, documents))
        needed = keeper.needed(documents, given, on_chain)
        names = [posting.function for posting in needed]
        poster.say(f"needed       {', '.join(names) or 'nothing'}", needed=names)
        for posting in needed if post else []:
            poster.send(client.collateral.functions[posting.function](*posting.arguments))
        if post and needed and not dry_run:
            read, now = _reads(client)
            _say_on_chain(poster, read, now, given, documents)
        if as_json:
            print_json(poster.told)


# KEYS AND POLICIES


@app.command()
@sending
def admit(wallet: Wallet, service: ServiceArgument, signer: SignerArgument) -> None:
    """Have a registered key judged by a service's policy, so that its answers count. Anyone may."""
    client, id_, key = wallet.client, bytes32(service), address(signer)
    _policy(client, id_)
    registered = client.history(client.attester.events.KeyRegistered(), signer=key)
    if not registered:
        raise Refused(f"nobody has registered {key}; its node does that at start")
    details = tuple(registered[-1]["args"]["details"].values())
    wallet.send(client.attester.functions.admit(id_, key, details))
    if wallet.as_json:
        wallet.told["keys"] = _keys(client, id_, key)
    elif not wallet.dry_run:
        _print_keys(client, id_, key)


@app.command()
@sending
def revoke(wallet: Wallet, signer: SignerArgument) -> None:
    """End a key for ever, in every service. Only its node may."""
    key = address(signer)
    node, expires_at, *_ = wallet.client.attester.functions.keyOf(key).call()
    if node == NOBODY:
        raise Refused(f"nobody has registered {key}")
    if expires_at == 0:
        raise Refused(f"{key} is revoked already")
    wallet.send(wallet.client.attester.functions.revoke(key))


@app.command()
@sending
def shrink(
    wallet: Wallet,
    service: ServiceArgument,
    id_: Annotated[
        list[str] | None,
        typer.Option("--id", help="Measurement or platform that the service stops believing; may be repeated."),
    ] = None,
    cap: Annotated[str, typer.Option(help="Highest value, in ether, at which an answer is final at once.")] = "",
    grace_cap: Annotated[str, typer.Option(help="The same, for platforms that are out of date.")] = "",
    evaluation: Annotated[
        int,
        typer.Option(min=0, max=0xFFFF, help="The oldest TCB evaluation to take from now on, no older than now."),
    ] = 0,
) -> None:
    """Take trust out of a policy, for ever. Only the service's guardian may. All keys must be admitted anew."""
    client, which, ids = wallet.client, bytes32(service), [bytes32(text) for text in id_ or ()]
    if not (ids or cap or grace_cap or evaluation):
        raise Refused("give --id, --cap, --grace-cap or --evaluation: what to take away")
    _policy(client, which)
    for each in ids:
        if not client.attester.functions.isBelieved(which, each).call():
            raise Refused(f"the policy does not believe 0x{each.hex()}; `didyma tee status` shows what it does")
    cap_wei, grace_cap_wei, _ = client.attester.functions.capsOf(which).call()
    cap_wei, grace_cap_wei = wei(cap) if cap else cap_wei, wei(grace_cap) if grace_cap else grace_cap_wei
    if grace_cap_wei > cap_wei:
        raise Refused(
            f"platforms that are out of date would have the higher cap, {grace_cap_wei / ETHER:g} ether: "
            "give --grace-cap too"
        )
    least = evaluation or client.attester.functions.leastEvaluationOf(which).call()
    wallet.send(client.attester.functions.shrink(which, ids, cap_wei, grace_cap_wei, least))
    if not wallet.dry_run:
        wallet.say("All keys must be admitted anew: `didyma tee admit`.")


# INTERNALS


def _reads(client: OracleClient) -> tuple[Read, int]:
    """Reads of the collateral after the latest block, and the time of that block."""
    block = client.w3.eth.get_block("latest")
    contract = Binding(artifact("DcapCollateral")["abi"], client.collateral.address)

    async def read(function: str, *arguments: Any) -> Any:
        data = contract.encode(function, *arguments)
        found = client.w3.eth.call({"to": client.collateral.address, "data": Web3.to_hex(data)}, block["number"])
        return contract.result(function, found)

    return read, block["timestamp"]


def _policies(client: OracleClient, **which: ServiceId) -> list[Mapping[str, Any]]:
    return [event["args"] for event in client.history(client.attester.events.PolicyAdopted(), **which)]


def _policy(client: OracleClient, service: ServiceId) -> Mapping[str, Any]:
    """Raises Refused."""
    found = _policies(client, service=service)
    if not found:
        raise Refused(
            f"service 0x{service.hex()} has no policy with this deployment's attester; `didyma tee status` shows all"
        )
    return found[0]


def _print_policy(client: OracleClient, service: ServiceId, policy: Mapping[str, Any]) -> None:
    cap_wei, grace_cap_wei, version = _caps(client, service)
    grace = f"out of date for {policy['graceSeconds'] / DAY:g} days" if policy["graceSeconds"] else ""
    configuration = "configuration needed" if policy["acceptsConfiguration"] else ""
    advisories = ", ".join(f"INTEL-SA-{number:05}" for number in policy["advisories"])
    accepted = "; ".join(filter(None, ("up to date", grace, configuration, advisories)))
    guardian = "nobody" if policy["guardian"] == NOBODY else policy["guardian"]
    console.print(f"service      0x{service.hex()}")
    console.print(f"  guardian     {guardian}, has shrunk it {version - 1} times")
    console.print(f"  caps         {cap_wei / ETHER:g} ether; out of date {grace_cap_wei / ETHER:g} ether")
    console.print(f"  accepts      {accepted}")
    console.print(f"  evaluation   {client.attester.functions.leastEvaluationOf(service).call()} or newer")
    console.print(f"  engine       0x{policy['engineId'].hex()}")
    for name in ("measurement", "platform"):
        for id_ in policy[f"{name}s"]:
            is_believed = client.attester.functions.isBelieved(service, id_).call()
            console.print(f"  {name:<12} 0x{id_.hex()}{'' if is_believed else '  taken away'}")


def _caps(client: OracleClient, service: ServiceId) -> tuple[int, int, int]:
    """Caps in wei for platforms up to date and out of date, and the policy's version."""
    cap_wei, grace_cap_wei, version = client.attester.functions.capsOf(service).call()
    return cap_wei, grace_cap_wei, version


def _keys(client: OracleClient, service: ServiceId, signer: str = "") -> list[dict[str, Any]]:
    """Keys that were ever admitted, by their newest admission. signer: alone, if given."""
    filters = {"service": service, **({"signer": signer} if signer else {})}
    events = client.history(client.attester.events.KeyAdmitted(), **filters)
    newest = {event["args"]["signer"]: event["args"]["admission"] for event in events}
    admitted = client.attester.functions.isAdmitted
    return [
        {"signer": key, "admitted": admitted(service, key).call(), **dict(admission)}
        for key, admission in newest.items()
    ]


def _print_keys(client: OracleClient, service: ServiceId, signer: str = "") -> None:
    for key in _keys(client, service, signer):
        console.print(
            f"  key          {key['signer']}  {'admitted' if key['admitted'] else 'NOT admitted now'}, "
            f"until {_utc(key['until'])}, "
            f"{'listed' if key['isListed'] else 'not listed: its answers have a window'}"
            f"{', out of date' if key['isBehind'] else ''}"
        )


def _say_on_chain(poster: Wallet, read: Read, now: int, quote: Quote, documents: Collateral) -> None:
    """Of these documents' evaluation. now: Unix seconds."""
    on_chain = asyncio.run(OnChain.read(read, quote, documents.evaluation))
    since = poster.client.collateral.functions.evaluationSince(on_chain.evaluation).call()
    told = f"on chain since {_utc(since)} ({since})" if since else "not on chain"
    poster.say(f"evaluation   {on_chain.evaluation}, {told}", evaluation=on_chain.evaluation, since=since)
    signers = {on_chain.tcb_info["signer"], on_chain.qe_identity["signer"]} - {ROOT}
    parts = [
        ("authority", on_chain.certificates[on_chain.authority]),
        ("platform", on_chain.certificates[on_chain.credential]),
        *(("signer", on_chain.certificates[signer]) for signer in sorted(signers)),
        ("root's list", on_chain.crls[ROOT]),
        ("its list", on_chain.crls[on_chain.authority]),
        ("TCB info", on_chain.tcb_info),
        ("QE identity", on_chain.qe_identity),
    ]
    poster.told["documents"] = []
    for name, part in parts:
        end, revoked = part["notAfter"] if "notAfter" in part else part["nextUpdate"], bool(part.get("revoked"))
        poster.told["documents"].append({"name": name, "until": end, "revoked": revoked})
        poster.say(f"  {name:<12} {'revoked' if revoked else f'until {_utc(end)}' if end else 'missing'}")
    stands, is_due = on_chain.expires_at > now, on_chain.alarm_due(now)
    if not stands:
        told = "not now: quotes of this platform are refused"
    else:
        told = f"until {_utc(on_chain.expires_at)}{'; soon, post newer documents' if is_due else ''}"
    poster.say(f"stands       {told}", stands=stands, until=on_chain.expires_at, newer_due=is_due)


def _ids(quote: Quote, is_dev: bool) -> dict[str, Any]:
    ids = {"measurement": identity.measurement_id(quote, is_dev), "platform": identity.platform_id(quote)}
    return {"kind": identity.kind(quote, is_dev), **ids}


def _print_ids(quote: Quote, is_dev: bool) -> None:
    for name, value in _ids(quote, is_dev).items():
        console.print(f"{name:<12} {'0x' + value.hex() if isinstance(value, bytes) else value}")


def _documents(quote: Quote, file: Path | None, url: str, is_dev: bool, least: int) -> Collateral:
    """Raises Refused, and as `Pccs`."""
    if file is not None and url:
        raise Refused("give --collateral or --url, not both")
    if file is not None:
        try:
            return Collateral.from_json(_read(file).decode())
        except (ValueError, KeyError, TypeError) as error:
            raise Refused(f"{file} does not hold documents as dcap-qvl writes them: {error}") from None
    if url:
        return asyncio.run(Pccs(url).fetch(quote, least))
    if is_dev:
        return MACHINE.collateral()
    raise Refused("give --collateral or --url: the documents to judge by")


def _read_quote(file: Path) -> Quote:
    """Raises Refused."""
    return Quote.parse(_read(file))


def _read(file: Path) -> bytes:
    """Raises Refused."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise Refused(f"{file} cannot be read: {error.strerror}") from None


def _present(rpc_url: str) -> int:
    """Unix seconds: of the latest block; without an endpoint, this machine's. Raises RpcUnavailable."""
    urls = rpc_url.replace(",", " ").split()
    if not urls:
        return int(time.time())
    return connect(urls[0]).eth.get_block("latest")["timestamp"]


def _utc(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
