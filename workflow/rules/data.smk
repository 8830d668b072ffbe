rule freeze_images:
    """Prepare every image of a dataset, and list them with their hashes."""
    input:
        named=lambda w: named(named_files(config["datasets"][w.dataset])),
    output:
        table=f"{RESULTS}/{{dataset}}/images.csv",
    log:
        f"{RESULTS}/logs/{{dataset}}/images.log",
    priority: 2  # faults of a dataset are reported before anything is trained
    conda:
        "../envs/sair.yaml"
    threads: 8  # upper limit; number of processes that prepare images
    params:
        dataset=lambda w: config["datasets"][w.dataset],
        content=lambda w: digests(named_files(config["datasets"][w.dataset])),
        size=config["image_size"],
        code=project.code_fingerprint("freeze_images"),
    script:
        "../scripts/freeze_images.py"


rule freeze_manifest:
    """Freeze the test split: every test image under one mask of every bucket."""
    input:
        images=rules.freeze_images.output.table,
        trained_on=lambda w: project.trained_on(w.dataset),
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
        code=project.code_fingerprint("freeze_manifest"),
    script:
        "../scripts/freeze_manifest.py"


rule truth_features:
    """Compute Inception features of the ground-truth test images, for FID and KID of every method."""
    input:
        manifest=rules.freeze_manifest.output.manifest,
    output:
        features=f"{RESULTS}/{{dataset}}/truth_features.safetensors",
    log:
        f"{RESULTS}/logs/{{dataset}}/truth_features.log",
    conda:
        "../envs/sair.yaml"
    resources:
        gpu_mib=GPU.features(),
    params:
        device=config["device"],
        network="inception",
        code=project.code_fingerprint("truth_features"),
    script:
        "../scripts/truth_features.py"


use rule truth_features as truth_features_of_network with:
    output:
        features=f"{RESULTS}/{{dataset}}/truth_features.{{network}}.safetensors",
    log:
        f"{RESULTS}/logs/{{dataset}}/truth_features.{{network}}.log",
    wildcard_constraints:
        network="[a-z0-9]+",
    resources:
        gpu_mib=lambda w: GPU.features(w.network),
    params:
        device=config["device"],
        network=lambda w: w.network,
        code=project.code_fingerprint("truth_features"),
