"""How infrasim is installed: ``pip install .``, ``pip install -e .``, or not at all (bin/infrasim)."""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
# Kept at the top of the clone, where people look for them; shipped inside the package.
SHIPPED_FOLDERS = ("template", "data")


def requirements(name: str) -> list[str]:
    lines = (
        line.partition("#")[0].strip() for line in (ROOT / name).read_text(encoding="utf-8").splitlines()
    )
    return [line for line in lines if line]


class BuildWithResources(build_py):
    """Copies the shipped folders into the package; an editable install reads them in the clone."""

    def run(self) -> None:
        # What an earlier build left there, such as a module that is gone since, would be shipped too.
        shutil.rmtree(Path(self.build_lib) / "infrasim", ignore_errors=True)
        super().run()
        if self.editable_mode:
            return
        for folder in SHIPPED_FOLDERS:
            shutil.copytree(ROOT / folder, Path(self.build_lib) / "infrasim" / folder)


setup(
    packages=find_packages(include=["infrasim", "infrasim.*"]),
    install_requires=requirements("requirements.txt"),
    extras_require={"test": requirements("requirements-test.txt")},
    entry_points={"console_scripts": ["infrasim = infrasim.__main__:main"]},
    cmdclass={"build_py": BuildWithResources},
)
