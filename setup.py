"""Puts `conf/` into the wheel, as `lamella/conf`. All else that setuptools has to know stands in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class WithConf(build_py):
    """The package with its YAML files. An editable install has none of its own: it reads those of the checkout."""

    def run(self) -> None:
        if not self.editable_mode:
            shutil.rmtree(self.build_lib, ignore_errors=True)  # files that an earlier build left would come along
        super().run()
        if not self.editable_mode:
            for file in Path("conf").rglob("*.yaml"):
                copy = Path(self.build_lib, "lamella", file)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)


setup(cmdclass={"build_py": WithConf})
