rule freeze_images:
    """Finish every image of an image set, and list them with their hashes."""
    input:
        named=lambda w: named(named_files(config["datasets"][w.dataset])),
    output:
        table=f"{RESULTS}/{{dataset}}/images.csv",
    log:
        f"{RESULTS}/logs/{{dataset}}/images.log",
    priority: 2  # what is wrong with a set is said before anything is trained
    conda:
        "../envs/sair.yaml"
    threads: 8  # at most: processes that make images
    params:
        dataset=lambda w: config["datasets"][w.dataset],
        content=lambda w: digests(named_files(config["datasets"][w.dataset])),
        size=config["image_size"],
        code=project.code("freeze_images"),
    script:
        "../scripts/freeze_images.py"


rule freeze_manifest:
    """Freeze the test: every test image under one mask of every bucket."""
    input:
        images=rules.freeze_images.output.table,
        learnt=lambda w: project.learnt_from(w.dataset),
    output:
        manifest=f"{RESULTS}/{{dataset}}/manifest.csv",
        training_masks=f"{RESULTS}/{{dataset}}/training_masks.csv",
    log:
        f"{RESULTS}/logs/{{dataset}}/manifest.log",
    priority: 2
    conda:
        "../envs/sair.yaml"
    params:
        masks=lambda w: config["masks"][config["datasets"][w.dataset]["masks"]],
        buckets=config["buckets"],
        code=project.code("freeze_manifest"),
    script:
        "../scripts/freeze_manifest.py"


rule truth_features:
    """Inception features of the true test images, for FID and KID of every method."""
    input:
        manifest=rules.freeze_manifest.output.manifest,
    output:
        features=f"{RESULTS}/{{dataset}}/truth_features.safetensors",
    log:
        f"{RESULTS}/logs/{{dataset}}/truth_features.log",
    conda:
        "../envs/sair.yaml"
    threads: 1
    params:
        device=config["device"],
        code=project.code("truth_features"),
    script:
        "../scripts/truth_features.py"
