"""The whole pre-flight, in the order in which a person would put things right."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sealora_client.check.agreement import Agreement, check_agreement
from sealora_client.data.source.problems import sentences_of
from sealora_client.site.config import SiteConfig
from sealora_common.adapter import adapter_kind
from sealora_common.errors import DataError, SealoraError
from sealora_common.health.finding import Finding, failed, passed, warned
from sealora_common.recipe import Recipe


def preflight(config_file: Path, *, trial: bool = True) -> Iterator[Finding]:
    """Everything that a run will need, one finding after the other as it is found.

    Args:
        config_file: the site's site.yaml.
        trial: whether the model is loaded and a small piece of a round is tried.
    """
    from sealora_client.check.machine import check_disk
    from sealora_client.check.server import check_server

    directory = config_file.absolute().parent
    try:
        config = SiteConfig.load(config_file)
    except SealoraError as error:
        yield failed("site.yaml", str(error))
        return
    yield passed("site.yaml", f"site {config.name}")
    agreement = Agreement(directory, config)
    yield from check_agreement(agreement)
    yield from check_disk(directory)
    if config.server is None:
        yield failed("server", "site.yaml names none: add `server: https://host:port`, the address of its front")
    else:
        yield from check_server(config.server, directory / config.ca if config.ca else None, agreement.node_key)
    if agreement.recipe is None:
        yield warned("machine", "not tried, because there is no recipe to try: put that right and check again")
        return
    yield from _with_recipe(agreement, agreement.recipe, trial)


def _with_recipe(agreement: Agreement, recipe: Recipe, trial: bool) -> Iterator[Finding]:
    from sealora_client.check.budget import check_budget
    from sealora_client.check.machine import check_device, check_memory
    from sealora_client.check.workload import check_base_model, check_metric
    from sealora_client.model.device import choose_training_device, device_names

    readable = True
    if agreement.policy is not None and agreement.identity is not None:
        privacy = list(check_budget(agreement, agreement.policy, recipe, agreement.identity))
        yield from privacy
        readable = all(finding.check != "records" for finding in privacy)
    yield from check_metric(recipe)
    base, parameters = check_base_model(recipe)
    yield base
    asked = agreement.config.devices
    device = check_device(recipe, parameters, asked)
    yield device
    if device.status == "fail":
        yield warned("training", "not tried, because site.yaml names a device that is not there: put that right first")
        return
    names = device_names(asked)
    if not isinstance(asked, int):
        choose_training_device(names[0])
    memory = check_memory(recipe, parameters, names.count(names[0]))
    yield memory
    if "fail" in (base.status, memory.status):
        yield warned("training", "not tried, because the base model is not there or does not fit: put that right first")
    elif trial and not readable:
        yield warned("training", "not tried, because the records cannot be read: put that right first")
    elif trial:
        yield from _on_training(agreement, recipe)


def _on_training(agreement: Agreement, recipe: Recipe) -> Iterator[Finding]:
    from sealora_client.check.devices import check_devices
    from sealora_client.check.dry_run import check_dry_run
    from sealora_client.check.noise import check_noise
    from sealora_client.check.workload import Workload
    from sealora_client.model.adapted import adapted_model
    from sealora_client.training.devices.choice import close_devices

    roster_size = recipe.sites.minimum if agreement.roster is None else len(agreement.roster)
    try:
        model = adapted_model(recipe)
        if agreement.policy is not None:
            agreement.policy.check_size(adapter_kind(recipe).shared(model.layout).size)
        workload = Workload.read(agreement.directory / agreement.config.data, recipe, model)
    except DataError as error:
        yield from (failed("records", sentence) for sentence in sentences_of(error))
        return
    except SealoraError as error:
        yield failed("training", str(error))
        return
    yield from workload.check(recipe)
    yield from check_noise(recipe, model, workload, roster_size)
    try:
        finding, count = check_devices(recipe, model, agreement.config.devices)
        if finding is not None:
            yield finding
        yield from check_dry_run(recipe, model, workload, roster_size, count)
    finally:
        close_devices()
