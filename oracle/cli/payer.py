"""`didyma quote` and `didyma withdraw`: what asking costs, and money back."""

import math
from typing import Annotated

import typer
from rich.console import Console

from oracle.chain.units import ETHER, GWEI
from oracle.cli.arguments import address, wei
from oracle.cli.connection import DeploymentOption, Network, RpcUrlOption, Wallet, paying
from oracle.cli.prompts import (
    ChoiceOption,
    StoreOfModels,
    TypeOption,
    as_taken,
    chosen_service,
    compiled,
    enough_tokens,
    wanted_of,
)
from oracle.cli.report import JsonOption, print_json, reported
from oracle.errors import Refused

TOKENS = 24
console = Console(highlight=False, soft_wrap=True, markup=False)


def quote(
    prompt: Annotated[str | None, typer.Argument(help="The question; or give --bytes.", show_default=False)] = None,
    *,
    rpc_url: RpcUrlOption = None,
    deployment: DeploymentOption = None,
    service: Annotated[
        str | None, typer.Option(help="Service id; the newest if not given.", show_default=False)
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            min=1, max=(1 << 24) - 1, help=f"Most tokens of the answer; {TOKENS} if not given.", show_default=False
        ),
    ] = None,
    size: Annotated[
        int | None, typer.Option("--bytes", min=1, max=1 << 31, help="Length of the prompt, instead of the prompt.")
    ] = None,
    callback_gas: Annotated[
        int, typer.Option(min=0, max=(1 << 32) - 1, help="Gas for the asking contract's callback.")
    ] = 0,
    callback_gas_price: Annotated[
        float, typer.Option(min=0.0, max=1e9, help="Price of a unit of callback gas, in gwei.")
    ] = 0.0,
    choice: ChoiceOption = None,
    type_: TypeOption = "",
    store: StoreOfModels = None,
    as_json: JsonOption = False,
) -> None:
    """What a request would cost, to the wei."""
    with reported():
        if (prompt is None) == (size is None):
            raise Refused("give the prompt, or its length with --bytes")
        wanted = wanted_of(choice, type_)
        if prompt is None and wanted is not None:
            raise Refused("--choice and --type are for a prompt; with --bytes, count the type's bytes and one more")
        if math.isnan(callback_gas_price):
            raise Refused("--callback-gas-price is a number of gwei")
        network = Network.find(deployment, rpc_url)
        client = network.client()
        chosen = chosen_service(client, service)
        asked: bytes | int = size or 0
        tokens = TOKENS if max_tokens is None else max_tokens
        if prompt is not None:
            asked = as_taken(network, client, chosen, [prompt.encode("utf-8", "surrogateescape")], store)
            if wanted is not None:
                made, asked = compiled(network, client, chosen, wanted, asked, store)
                tokens = enough_tokens(made, max_tokens, client.terms(chosen)["maxTokens"], TOKENS)
        length = asked if isinstance(asked, int) else len(asked)
        price_wei = round(callback_gas_price * GWEI)
        params = client.params(tokens, callback_gas=callback_gas, callback_gas_price_wei=price_wei)
        cost = client.quote(chosen, asked, params)
    if as_json:
        amounts = {"fee_wei": cost.fee_wei, "callback_wei": cost.callback_wei, "total_wei": cost.total_wei}
        amounts["forfeit_wei"] = cost.forfeit_wei
        print_json({"service": chosen, "prompt_bytes": length, "max_tokens": tokens, **amounts})
        return
    console.print(f"service      0x{chosen.hex()}")
    console.print(f"answer       {cost.fee_wei / ETHER:g} ether, for {length:,} bytes and at most {tokens} tokens")
    if callback_gas:
        console.print(f"callback     {cost.callback_wei / ETHER:g} ether, for {callback_gas:,} gas")
    console.print(f"to be sent   {cost.total_wei / ETHER:g} ether ({cost.total_wei} wei)")
    console.print(f"if unanswered, all but at most {cost.forfeit_wei / ETHER:g} ether is refunded")


@paying
def withdraw(
    wallet: Wallet,
    to: Annotated[str | None, typer.Argument(help="Where the credit goes; to its owner if not given.")] = None,
    ether: Annotated[str, typer.Option(help="Amount; all of it if not given.", show_default=False)] = "",
) -> None:
    """Take out your credit: refunds, what was not used of a fee, rewards, what a seat left behind."""
    if wallet.dry_run and not (to and ether):
        raise Refused("a dry run knows no account: give the address, and the amount with --ether")
    receiver, amount = None if to is None else address(to), wei(ether) if ether else None
    wallet.send(wallet.client.withdrawal(receiver, amount))
