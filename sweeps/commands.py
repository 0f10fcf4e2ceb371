"""The commands that launch a sweep by the name of its file, and the group of conf/ that the file is in."""

GROUPS = {"ablate": "ablation", "study": "study"}
