"""A page with many claims, of all verdicts and of the widest words."""

from __future__ import annotations

import numpy as np

from pipeline.tracking.reader import TrackedRun
from sweeps.claims.config import ClaimConfig, Published
from sweeps.claims.verdicts import judge, judge_published
from sweeps.config.ablation import compose_ablation
from sweeps.reports.chart import chart_of
from sweeps.reports.findings import AblationFindings
from sweeps.reports.headline import ablation_headline
from sweeps.reports.page import Page, method
from sweeps.reports.tables import METRICS, results_table, runs_table
from sweeps.results import TrialResult
from tests.helpers.evidence import GivenEvidence, at, claim

LABELS = ["dense_512_256_128", "conv_16", "conv_32_unpooled", "conv_32", "conv_64", "three_conv_64"]
MEANS = dict(zip(LABELS, (0.881, 0.8896, 0.90, 0.9006, 0.9084, 0.8751), strict=True))


def result(label: str, place: int) -> TrialResult:
    rng, runs = np.random.default_rng(place), []
    for seed, noise in enumerate(rng.normal(0, 0.002, 5)):
        test = MEANS.get(label, 0.9) + float(noise)
        metrics = {"train/loss": 0.2, "train/accuracy": test + 0.02 + 0.004 * place, "test/loss": 0.3}
        metrics |= {"test/accuracy": test, "gap/accuracy": 0.03, "epochs": 5.0, "parameters": 1e5 * place}
        metrics |= {f"test/accuracy/{name}": test for name in ("cat", "dog", "frog")}
        runs.append(TrackedRun(f"{seed}{place}abcdef0123", "FINISHED", metrics, {}, {"seed": str(seed)}))
    published = {"N22": {"test/accuracy": MEANS.get(label, 0.9) - 0.004}}
    return TrialResult(label, str(16 * place), list(range(5)), runs, published)


def page(*more: str) -> Page:
    """The page, judged from given numbers, with `more` configs that no claim is about."""
    ablation = compose_ablation("filter_count", ["seeds=[0,1,2,3,4]"])
    results, settings = [result(label, place) for place, label in enumerate([*LABELS, *more], start=1)], at(3, 5)
    evidence = GivenEvidence(
        {it.label: {metric: it.values(metric) for metric in METRICS if it.values(metric)} for it in results},
        times={"conv_16": [1.0, 1.1, 1.05, 0.98, 1.02], "conv_64": [2.6, 2.7, 2.5, 2.65, 2.62]},
    )
    both = {"trial": "conv_64", "metric": "test/accuracy"}
    claims: dict[str, ClaimConfig] = {
        "more": claim("greater", than=["conv_16"], **both),
        "best": claim("greater", than=[label for label in LABELS if label != "conv_64"], **both),
        "worse": claim("less", than=["conv_32_unpooled"], **both),
        "equal": claim("equal_within", than=["conv_32"], margin=0.01, **both),
        "open": claim("greater", trial="conv_32", than=["conv_32_unpooled"], metric="test/accuracy"),
        "rises": claim("rises", along=["conv_16", "conv_32", "conv_64"], metric="train/accuracy"),
        "slower": claim("slower", trial="conv_64", than=["conv_16"], margin=1.0),
        "faster": claim("faster", trial="conv_64", than=["conv_16"]),
        "value": claim("greater", trial="conv_64", value=0.9, metric="test/accuracy"),
    }
    says = {
        "more": "64 filters reach a higher test accuracy than 16",
        "best": "64 filters have the best test accuracy of all variants, however many layers they have",
        "worse": "pooling costs accuracy",
        "equal": "between 64 and 32 filters there is little difference on the test set (taken as one percentage point)",
        "open": "32 pooled filters beat 32 unpooled ones",
        "rises": "training accuracy rises from 16 over 32 to 64 filters",
        "slower": "an epoch of 64 filters takes more than twice as long as one of 16",
        "faster": "more filters make training faster (a quiz)",
        "value": "64 filters are right on more than nine in ten",
    }
    for name, claimed in claims.items():
        claimed.says, claimed.source = says[name], ["N22"]
    published = [Published(label, "test/accuracy", "N22", MEANS.get(label, 0.9) - 0.004) for label in LABELS[:3]]
    published += [Published("conv_64", "test/accuracy", "N21", 0.95)]
    findings = AblationFindings(judge(claims, evidence, settings), judge_published(published, evidence, settings))
    return Page(
        kind="ablation",
        name="filter_count",
        description=ablation.sweep.description,
        title="Do more filters help?",
        headline=ablation_headline(findings, results, ablation.sweep),
        chart=chart_of(results, ablation.sweep, "filters", settings),
        findings=findings.claims,
        numbers=findings.published,
        method=method(settings),
        tables=[
            results_table(results, settings, findings.published),
            runs_table(results, ablation.sweep, lambda run: ""),
        ],
    )
