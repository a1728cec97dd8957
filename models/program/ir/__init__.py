"""OpenVINO's IR: the format of Intel's published models, read as a program."""
