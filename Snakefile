# The workflow is in workflow/. This file is for readers and tools that expect a Snakefile here.
include: "workflow/Snakefile"
