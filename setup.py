"""What pyproject.toml cannot say: conf/ is installed as a part of the package `pipeline`."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["pipeline*", "sweeps*"]), "pipeline.conf"],
    package_dir={"pipeline.conf": "conf"},
)
