"""Loss-based sampling of first parameters: what the results say."""

from __future__ import annotations

from jaxor.reproduction.claims import Claim, Table
from jaxor.reproduction.sampling import NAMES, OF_LOSSES, PRINTED, one_layer, two_layers

DOCUMENT = "Loss-Based Sampling Initialization for Neural Networks"


def _arm_claims() -> tuple[Claim, ...]:
    gains = {"below_50": "21 %", "below_25": "48 %", "below_0": "72 %", "above_50": "-52 %"}
    spread = {
        "control": ("80", "165", "126.3", "54.2"), "below_50": ("58", "129", "97.4", "41.8"),
        "below_25": ("71", "120", "96.1", "32.1"), "below_0": ("45", "62", "53.8", "17.3"),
    }  # fmt: skip
    claims = []
    for arm, figures in PRINTED.items():
        for key, what, figure in zip(
            ("success", "median", "shortest", "longest"),
            ("success", "median epochs", "fewest epochs", "most epochs"), figures, strict=True,
        ):  # fmt: skip
            claims.append(Claim(f"{arm}/{key}", "3.2", f"{NAMES[arm]}: {what}", figure))
        if arm in gains:
            claims.append(Claim(f"{arm}/gain", "3.2", f"{NAMES[arm]}: more success than the control", gains[arm]))
    for arm, figures in spread.items():
        for key, what, figure in zip(
            ("q25", "q75", "mean", "sd"), ("lower quartile", "upper quartile", "mean", "standard deviation"),
            figures, strict=True,
        ):  # fmt: skip
            claims.append(Claim(f"{arm}/{key}", "A.1", f"{NAMES[arm]}: {what} of epochs", figure))
    return tuple(claims)


def _initial(where: str, losses: tuple[str, ...], accuracies: tuple[str, ...]) -> tuple[Claim, ...]:
    what = ("mean", "median", "lower quartile", "lowest", "highest")
    claims = [Claim(f"initial/{key}", where, f"initial loss: {text} of 100", figure)
              for key, text, figure in zip(OF_LOSSES, what, losses, strict=True)]  # fmt: skip
    levels = {100: "100 %", 75: "75 %", 50: "50 %", 25: "25 % or less"}
    claims += [Claim(f"initial/accuracy_{key}", where, f"share that starts at accuracy {text}", figure)
               for (key, text), figure in zip(levels.items(), accuracies, strict=True)]  # fmt: skip
    return tuple(claims)


TABLES = (
    Table(
        "sampling-one-layer", DOCUMENT, "One layer, Adam: 50 runs a strategy",
        "Runs of `relu1_normal`, `relu1_reinit_50th`, `_25th`, `_0th` and `_50th_bad` in samples of 50, first losses "
        "of `relu1_init_dist` in samples of 100. Where nothing else is said, epochs are those of all runs, and "
        "percentiles are cut to whole numbers, as in the results' code.",
        (
            Claim("parameters", "2.1", "parameters", "6"),
            *_initial("3.1", ("0.581", "0.468", "0.325", "0.072", "1.85"), ("3 %", "23 %", "51 %", "23 %")),
            Claim("of_successes", "2.3", "epochs are those of successful runs", "yes",
                  "They are of all runs: failures end early by the patience rule."),
            *_arm_claims(),
            Claim("speedup", "3.3", "median epochs, control over < .072", "2.5x",
                  note="Failures, which patience ends early, count, too; docs/sampling.md has it of successes alone."),
            Claim("control/width", "3.3", "control: range of epochs", "242"),
            Claim("below_0/width", "3.3", "< .072: range of epochs", "74"),
            Claim("monotonic", "3.3", "a lower initial loss, a higher success", "yes"),
            Claim("control/mirror", "3.4", "control: runs with mirrored weights", "29/50"),
            Claim("below_0/mirror", "3.4", "< .072: runs with mirrored weights", "50/50"),
            Claim("dead_units", "3.4", "successful and failed runs alike can have dead neurons", "yes",
                  "A solution needs both units, one for each point of class 1. What successes can have is a "
                  "point of class 0 without an active unit at the start."),
            Claim("activity", "3.4", "good initializations keep more neurons active", "yes"),
            Claim("proxy", "5.1", "a lower initial loss is a shorter distance to a solution", "yes"),
            Claim("near_is_fast", "5.1", "and a shorter distance converges faster", "yes"),
            Claim("no_gradient", "5.1", "good initializations prevent dead configurations", "yes"),
            Claim("saved", "5.3", "epochs saved, control less < .072", "74"),
            Claim("below_0/more", "5.3", "runs that succeed more, < .072 less control", "42 %"),
            Claim("cost", "5.3", "sampling costs much less than the training that it saves", "yes",
                  "An epoch is counted as three forward passes: forward, and twice as much backward."),
            Claim("faster", "6", "speed-up, in parts of the control's epochs", "60 %"),
            Claim("fort", "6", "Fort and Scherlis: speed-up by the loss of the first batch, at least", "20 %"),
            Claim("fort", "6", "Fort and Scherlis: speed-up by the loss of the first batch, at most", "35 %"),
            Claim("optimizers", "7.1", "selection gains more with Adam than with SGD", "yes"),
            Claim("easiest", "7.1", "it works best if the control succeeds in 50 % of the runs at least", "50 %"),
            Claim("hardest", "7.1", "and in at most", "80 %"),
            Claim("fewest_draws", "9.2", "draws that a distribution of losses takes, at least", "100"),
            Claim("most_draws", "9.2", "and at most", "1,000"),
            Claim("lowest_share", "9.2", "best share of draws to choose from, at least", "1 %"),
            Claim("highest_share", "9.2", "and at most", "10 %"),
            Claim("below_50/probability", "A.3", "probability of a loss below .468", "50 %"),
            Claim("below_25/probability", "A.3", "probability of a loss below .325", "25 %"),
            Claim("below_0/probability", "A.3", "probability of a loss below .072", "1 %"),
            Claim("below_50/draws", "A.3", "draws needed for < .468", "2"),
            Claim("below_25/draws", "A.3", "draws needed for < .325", "4"),
            Claim("below_0/draws", "5.3, A.3", "draws needed for < .072", "100"),
        ),
        one_layer, 10_000, 400_000,
    ),
    Table(
        "sampling-two-layers", DOCUMENT, "Two layers, SGD: 50 runs a strategy",
        "Runs of `relu2_two_mse_sgd` and `relu2_reinit_0th` in samples of 50, first losses of `relu2_init_dist` in "
        "samples of 100; epochs as with one layer.",
        (
            *_initial("4.1", ("1.36", "0.908", "0.644", "0.326", "5.63"), ("0 %", "11 %", "74 %", "15 %")),
            Claim("control/success", "4.2", "control: success", "10/50"),
            Claim("control/failure", "4.2", "control: runs that are stuck", "80 %"),
            Claim("control/q10", "4.2", "control: tenth percentile of epochs", "410"),
            Claim("below_0/success", "4.2", "< .326: success", "19/50"),
            Claim("below_0/failure", "4.3", "< .326: runs that are stuck", "62 %"),
            Claim("below_0/q10", "4.2", "< .326: tenth percentile of epochs", "379"),
            Claim("below_0/gain", "4.2", "< .326: more success than the control", "90 %"),
            Claim("faster", "Executive Summary", "selection makes training faster, too", "yes",
                  "A low threshold lets runs succeed that else fail, and these take long. The tenth percentile falls "
                  "because more runs end before the cap."),
            Claim("at_limit", "4.2", "runs that fail take 600 epochs", "yes"),
            Claim("stuck", "4.2", "runs that fail are stuck, whatever time they have", "yes",
                  "Some of them are only slow: given more epochs, they succeed.",
                  "The text says local minima, which this does not tell from other flat places."),
            Claim(
                "parameters", "2.1", "parameters", "10",
                "Two layers of 2 by 2 weights and 2 biases have 12.",
            ),
            Claim("plateau", "4.3", "runs that fail end on a plateau of .125", "yes"),
            Claim("halves", "4.3, A.2", "on which the output is [.5, .5] at all points", "yes",
                  "Two points, one of each class, are exact there, and the other two have that output."),
            Claim("one_class", "A.2", "on which one class has errors of .25 and the other none", "yes",
                  "Both classes have one point with an error of .25 and one without."),
            Claim(
                "half_everywhere", "A.2", "loss where all outputs are [.5, .5]", "0.125",
                "All errors are then .5, and their mean square .25.",
            ),
        ),
        two_layers, 10_000, 400_000,
    ),
)  # fmt: skip
