# The workflow lies in workflow/; this file lets a reader, and a tool that looks here, find it.
include: "workflow/Snakefile"
