"""surface.json: written and read here, and nowhere else."""

from lora_jax.scaling.answer_file import AnswerFile
from lora_jax.scaling.surfaces.results import FORMAT, KIND, SurfaceReport

SURFACE = AnswerFile("surface.json", SurfaceReport, KIND, FORMAT, "run `lora-jax surface` again")
write_surface, read_surface = SURFACE.write, SURFACE.read
