"""What of a configuration decides what the outputs of a stage are."""

from importlib.util import module_from_spec, spec_from_file_location

from MEDS_transforms.mapreduce.stage_outputs import code_of


def test_a_long_file_of_code_counts_as_a_whole(tmp_path):
    path = tmp_path / "own.py"
    padding = "# " + "x" * 40_000 + "\n"

    def code(factor: int) -> dict[str, str]:
        path.write_text(f"{padding}def double(df):\n    return df * {factor}\n{padding}")
        spec = spec_from_file_location("own", path)
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        return code_of(module.double)

    assert code(2) == code(2) != code(3)
