from wellnet_sse import provisioning


def test_the_package_hands_out_these_names_and_no_others() -> None:
    assert set(provisioning.__all__) == {
        "AnswerKey",
        "Answers",
        "Claim",
        "Completed",
        "Fresh",
        "Removals",
        "Router",
        "RouterClient",
        "RouterLimits",
        "Running",
        "StepReporter",
        "StepWork",
        "WriteState",
    }
    assert all(hasattr(provisioning, name) for name in provisioning.__all__)
